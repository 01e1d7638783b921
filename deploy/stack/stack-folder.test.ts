import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { handOut } from './hand-out.ts';
import { handouts, passwords } from './stack-files.ts';
import type { Handout } from './stack-files.ts';
import { ensureStackFolder } from './stack-folder.ts';

const now = new Date('2026-11-22T12:00:00Z');
const scratch = mkdtempSync(join(tmpdir(), 'cardea-stack-'));
const mini = { profile: 'mini', hosts: ['cardea.example.com'] } as const;
const full = { profile: 'full', hosts: ['cardea.example.com'] } as const;
let folder = '';
let count = 0;

beforeEach(() => {
  folder = join(scratch, `${++count}`);
});
afterAll(() => rmSync(scratch, { recursive: true }));

const read = (path: string) => readFileSync(join(folder, path), 'utf8');
const files = () =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
const volume = () => join(folder, 'volumes/api');
const contents = () => Object.fromEntries(files().map((file) => [file, readFileSync(file, 'utf8')]));

describe('the folder of a stack', () => {
  test.each([mini, full])('has everything that containers of profile $profile get', async (settings) => {
    await ensureStackFolder(folder, { ...settings, hosts: [...settings.hosts] }, now);
    const owners = { postgres: '999:999', redis: '999:999' };
    const sources = handouts(settings.profile, owners, () => false).flatMap((it) => Object.values(it.files));
    for (const source of sources) expect(read(source).length).toBeGreaterThan(20);
  });

  test('has keys and passwords that only its owner can read', async () => {
    await ensureStackFolder(folder, { ...full, hosts: [...full.hosts] }, now);
    const secret = files().filter((file) => !file.endsWith('.pem'));
    expect(secret.length).toBeGreaterThan(15);
    for (const file of secret) expect([file, statSync(file).mode & 0o777]).toEqual([file, 0o600]);
    for (const name of ['', 'secrets', 'tls']) expect(statSync(join(folder, name)).mode & 0o077).toBe(0);
  });

  test('is nothing that Git would take', async () => {
    mkdirSync(folder, { recursive: true });
    execFileSync('git', ['init', '--quiet', folder]);
    await ensureStackFolder(join(folder, 'blue'), { ...full, hosts: [...full.hosts] }, now);
    const untracked = ['-C', folder, 'status', '--porcelain', '--untracked-files=all'];
    expect(execFileSync('git', untracked, { encoding: 'utf8' })).toBe('');
  });

  test('is made once: later runs change nothing', async () => {
    const settings = { ...full, hosts: [...full.hosts] };
    await ensureStackFolder(folder, settings, now);
    const before = contents();
    expect(await ensureStackFolder(folder, settings, now)).toEqual([]);
    expect(contents()).toEqual(before);
  });

  test('gets what an interrupted run did not make, and keeps what it made', async () => {
    const settings = { ...full, hosts: [...full.hosts] };
    await ensureStackFolder(folder, settings, now);
    const before = contents();
    for (const name of ['secrets/database-api', 'secrets/redis-cardea', 'known-passwords']) rmSync(join(folder, name));
    expect(await ensureStackFolder(folder, settings, now)).toEqual([
      'secrets/database-api',
      'secrets/redis-cardea',
      'known-passwords',
      'redis-users.acl',
    ]);
    expect(read('secrets/database-worker')).toBe(before[join(folder, 'secrets/database-worker')]);
    expect(read('redis-users.acl')).toContain(`#${sha256(read('secrets/redis-cardea').trim())}`);
  });

  test('gets no new password for one that it had, but one that a newer version needs', async () => {
    const settings = { ...full, hosts: [...full.hosts] };
    await ensureStackFolder(folder, settings, now);
    for (const name of ['database-api', 'grafana-admin']) rmSync(join(folder, 'secrets', name));
    const before = contents();
    // The container `certificates` calls it too, each hour.
    await expect(ensureStackFolder(folder, settings, now)).rejects.toThrow(
      'the folder of the stack has lost secrets/database-api, secrets/grafana-admin, and a new password does not open',
    );
    expect(contents()).toEqual(before);
    const ofOldVersion = passwords.full.filter((name) => !['database-api', 'grafana-admin'].includes(name));
    writeFileSync(join(folder, 'known-passwords'), `${ofOldVersion.join('\n')}\n`);
    const made = ['secrets/database-api', 'secrets/grafana-admin', 'known-passwords'];
    expect(await ensureStackFolder(folder, settings, now)).toEqual(made);
    expect(read('known-passwords').trim().split('\n').sort()).toEqual([...passwords.full].sort());
  });

  test('has different passwords, and none of them in clear in the file of the users of Redis', async () => {
    await ensureStackFolder(folder, { ...full, hosts: [...full.hosts] }, now);
    const all = passwords.full.map((name) => read(`secrets/${name}`).trim());
    expect(new Set(all).size).toBe(all.length);
    for (const password of all) expect(password).toMatch(/^[A-Za-z0-9_-]{32}$/);
    for (const password of all) expect(read('redis-users.acl')).not.toContain(password);
  });
});

describe('a container', () => {
  const own = `${process.getuid!()}:${process.getgid!()}`;
  const plan: Handout[] = [
    { container: 'api', owner: own, files: { 'ca.pem': 'tls/ca.pem', 'api-service.key': 'tls/api-service.key' } },
  ];

  beforeEach(async () => {
    await ensureStackFolder(folder, { ...mini, hosts: [...mini.hosts] }, now);
    mkdirSync(volume(), { recursive: true });
  });

  test('gets its files and no others, and only its user can read them', async () => {
    writeFileSync(join(volume(), 'left-from-before'), 'x');
    await handOut(folder, join(folder, 'volumes'), plan);
    expect(readdirSync(volume()).sort()).toEqual(['api-service.key', 'ca.pem']);
    for (const name of readdirSync(volume())) {
      expect(statSync(join(volume(), name))).toMatchObject({ uid: process.getuid!(), mode: 0o100400 });
    }
    expect(readFileSync(join(volume(), 'ca.pem'), 'utf8')).toBe(read('tls/ca.pem'));
  });

  test('gets a file again only if it has changed', async () => {
    const run = () => handOut(folder, join(folder, 'volumes'), plan);
    expect(await run()).toEqual(['api/ca.pem', 'api/api-service.key']);
    expect(await run()).toEqual([]);
    writeFileSync(join(folder, 'tls/ca.pem'), 'another');
    expect(await run()).toEqual(['api/ca.pem']);
    expect(readFileSync(join(volume(), 'ca.pem'), 'utf8')).toBe('another');
  });

  test('gets nothing if a file is missing, and the message names all of them', async () => {
    rmSync(join(folder, 'tls/ca.pem'));
    rmSync(join(folder, 'tls/api-service.key'));
    await expect(handOut(folder, join(folder, 'volumes'), plan)).rejects.toThrow(
      'the folder of the stack has no tls/ca.pem, tls/api-service.key: run',
    );
    expect(readdirSync(volume())).toEqual([]);
  });

  test('gets a file of the operator if it needs it and the file is there', () => {
    const all = handouts('full', { postgres: own, redis: own }, (path) => path === 'webhooks.yml');
    const given = all.filter(({ files: of }) => 'webhooks.yml' in of).map(({ container }) => container);
    expect(given.sort()).toEqual(['api', 'worker']);
    expect(all.flatMap(({ files: of }) => Object.keys(of))).not.toContain('seal-passphrase');
  });

  test('never gets the key of the CA, or the key of another one', () => {
    for (const hasOwnCertificate of [false, true]) {
      const all = handouts('full', { postgres: own, redis: own }, () => hasOwnCertificate);
      const given = all.flatMap((it) => Object.values(it.files)).filter((source) => source.endsWith('.key'));
      expect(given).not.toContain('tls/ca.key');
      expect(new Set(given).size).toBe(given.length);
      expect(given.filter((source) => source.startsWith('proxy/'))).toHaveLength(hasOwnCertificate ? 1 : 0);
    }
  });
});

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
