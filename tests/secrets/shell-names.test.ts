import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { grant } from '../access/granting.ts';
import { expectRecords } from '../identity/identity.ts';
import { at } from './ground.ts';

// An export for a shell calls `db/password` DB_PASSWORD. In one profile: names are made after the database is read.
const [system, { alice, bob }] = useSystem('mini');
const folder = mkdtempSync(join(tmpdir(), 'cardea-shell-'));
afterAll(() => rmSync(folder, { recursive: true }));

const VAULT = 'shell';
const values: Record<string, string> = {
  db: 'app',
  'db/password': 'it\'s "$HOME" `id`',
  'db/read-only.url': 'two\nlines',
  'db/2fa': 'otp',
  Api_Key: 'k',
};

beforeAll(async () => {
  await alice.createVault(VAULT);
  for (const [name, value] of Object.entries(values)) await alice.put(at(VAULT, name), { value }).expect(201);
});

function exporting(options: object, by = alice, vault = VAULT) {
  return by.post(`/vaults/${vault}/secrets:export`, { format: 'dotenv', names: 'shell', ...options });
}

/** What a shell has in these variables after it has read the document. */
function inShell(content: string, names: string[]): string[] {
  const file = join(folder, 'secrets.env');
  writeFileSync(file, content);
  const script = `set -a; . "$0"; for name do eval "printf '%s\\0' \\"\\$$name\\""; done`;
  return execFileSync('sh', ['-c', script, file, ...names], { env: {} })
    .toString()
    .split('\0')
    .slice(0, -1);
}

const read = (name: string) => ({ action: 'secret.read', resource: expect.objectContaining({ name }) as never });

test('a shell reads each value under the name of its path, in capitals', async () => {
  const answer = await exporting({}).expect(200);
  const names = ['DB', 'DB_PASSWORD', 'DB_READ_ONLY_URL', 'DB_2FA', 'API_KEY'];
  expect(inShell(answer.body.content as string, names)).toEqual(Object.values(values));
  expect(answer.body.count).toBe(names.length);
  const reads = Object.keys(values).toSorted().map(read);
  await expectRecords(system, answer, { action: 'secret.export', decision: 'allow' }, ...reads);
});

test('below a prefix the prefix is no part of the names, and the secret that it names has its last segment', async () => {
  const { body } = await exporting({ prefix: 'db' }).expect(200);
  const names = ['DB', 'PASSWORD', 'READ_ONLY_URL', '_2FA'];
  expect(inShell(body.content as string, names)).toEqual(Object.values(values).slice(0, 4));
});

test('without the option the names are the paths', async () => {
  const { body } = await exporting({ names: 'paths', prefix: 'db' }).expect(200);
  expect(body).toEqual((await alice.post(`/vaults/${VAULT}/secrets:export`, { format: 'dotenv', prefix: 'db' })).body);
  expect(body.content).toContain('read-only.url=');
});

describe('two secrets that would have one name', () => {
  beforeAll(async () => {
    await alice.createVault('clash');
    for (const name of ['a/b-c', 'a/b/c', 'other/x']) await alice.put(at('clash', name), { value: 'v' }).expect(201);
  });

  test('are refused, and both are named', async () => {
    const answer = await exporting({}, alice, 'clash').expect(409);
    expect(answer.body).toMatchObject({
      code: 'conflict',
      detail: expect.stringMatching(/^the secrets a\/b-c and a\/b\/c would both be called A_B_C: /),
    });
    await expectRecords(system, answer, { action: 'secret.export', decision: 'deny', reason: 'conflict' });
    for (const prefix of ['a/b', 'other']) await exporting({ prefix }, alice, 'clash').expect(200);
  });

  test('do not clash for a caller who may read one of them, and who learns nothing of the other', async () => {
    await grant(alice, 'clash', 'user:bob', { secrets: ['read', 'list'], pathPrefix: 'a/b' });
    const { body } = await exporting({}, bob, 'clash').expect(200);
    expect(body).toMatchObject({ count: 1, content: expect.stringMatching(/^A_B_C=/) });
  });
});

test.each(['json', 'yaml'])('in %s there are no names for a shell', async (format) => {
  const answer = await exporting({ format }).expect(400);
  expect(answer.body.detail).toBe('body.names: can be "shell" only with the format dotenv');
  await expectRecords(system, answer, { action: 'secret.export', decision: 'deny', reason: 'invalid_request' });
});
