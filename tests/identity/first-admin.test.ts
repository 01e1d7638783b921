import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { initialPasswordIn } from '@cardea/api-service/initial-password';
import { ensureAdmin } from '@cardea/vault/users/first-admin';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';

const STARTS = 20;

describe.each(['mini', 'full'] as const)('the first start, in profile %s,', (profile) => {
  const [system] = useSystem(profile);
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cardea-first-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** The database before any process has started with it. */
  async function forgetUsers(): Promise<void> {
    await query(system, 'delete from app_user');
  }

  async function startWith(files: string[]): Promise<void> {
    await Promise.all(files.map((file) => ensureAdmin(system.vault, initialPasswordIn(file))));
  }

  async function expectSignsIn(file: string): Promise<void> {
    const password = (await readFile(file, 'utf8')).trim();
    await system.stranger.post('/auth/login', { username: 'admin', password }).expect(200);
  }

  test('of several processes with one folder leaves the one password that signs in', async () => {
    await forgetUsers();
    const file = join(folder, 'shared');
    await startWith(Array.from({ length: STARTS }, () => file));
    expect(await readdir(folder)).toEqual(['shared']);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await expectSignsIn(file);
    await rm(file);
  });

  test('of several processes with a folder each leaves a password only where it signs in', async () => {
    await forgetUsers();
    const names = Array.from({ length: 4 }, (_, i) => `own-${i}`);
    await startWith(names.map((name) => join(folder, name)));
    const left = await readdir(folder);
    expect(left).toHaveLength(1);
    await expectSignsIn(join(folder, left[0]!));
    await rm(join(folder, left[0]!));
  });

  test('that was interrupted before the user existed continues with the kept password', async () => {
    await forgetUsers();
    const file = join(folder, 'broken-off');
    const kept = await initialPasswordIn(file).keep('A'.repeat(24));
    expect(await initialPasswordIn(file).keep('B'.repeat(24))).toBe(kept);
    await startWith([file]);
    await system.stranger.post('/auth/login', { username: 'admin', password: kept }).expect(200);
    await rm(file);
  });

  test('refuses a password file that it has not made', async () => {
    await forgetUsers();
    const file = join(folder, 'edited');
    await writeFile(file, 'letmein\n', { mode: 0o600 });
    await expect(startWith([file])).rejects.toThrow(/has no password that Cardea made: delete the file/);
    expect(await readFile(file, 'utf8')).toBe('letmein\n');
    await rm(file);
  });
});
