import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { useSystem } from '@cardea/testkit/use-system';
import { beforeEach, expect, test } from '@jest/globals';
import { recordsOfAction } from './records.ts';
import { useTerminal } from './terminal.ts';

const [system] = useSystem('mini');
const terminal = useTerminal();

beforeEach(async () => {
  terminal.env['CARDEA_URL'] = system.url;
  terminal.env['CARDEA_TOKEN'] = (await system.as('admin')).token;
});

/** Runs a command that must succeed. @returns what it printed */
async function printed(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await terminal.cardea(words);
  expect([words, code, stderr]).toEqual([words, 0, '']);
  return stdout.trim();
}

test('a key encrypts a file, and only the same associated data opens it', async () => {
  await printed('vault', 'create', 'keys');
  expect(await printed('key', 'create', 'keys/k', 'aes-256-gcm')).toBe('keys/k version 1');
  const bytes = Buffer.from([0, 255, 10, 13]);
  writeFileSync(join(terminal.folder, 'plain'), bytes);
  writeFileSync(
    join(terminal.folder, 'sealed'),
    await printed('key', 'encrypt', 'keys/k', 'plain', '--associated', 'a'),
  );
  const opened = await terminal.shell('cardea key decrypt keys/k sealed --associated a | cmp - plain');
  expect([opened.code, opened.stdout]).toEqual([0, '']);
  expect((await terminal.cardea(['key', 'decrypt', 'keys/k', 'sealed', '--associated', 'b'])).code).not.toBe(0);
  expect(await recordsOfAction(system, 'key.decrypt')).toEqual(['deny keys/k', 'allow keys/k']);
});

test('a signature of another file is not valid, and the exit code says so', async () => {
  await printed('vault', 'create', 'signed');
  await printed('key', 'create', 'signed/k', 'ed25519');
  for (const name of ['one', 'two']) writeFileSync(join(terminal.folder, name), name);
  writeFileSync(join(terminal.folder, 'one.sig'), await printed('key', 'sign', 'signed/k', 'one'));
  expect(await printed('key', 'verify', 'signed/k', 'one.sig', 'one')).toBe('The signature is valid.');
  const wrong = await terminal.cardea(['key', 'verify', 'signed/k', 'one.sig', 'two']);
  expect([wrong.code, wrong.stdout]).toEqual([1, '']);
});

test('a version comes back, a secret goes into the trash and out of it, and moves', async () => {
  await printed('vault', 'create', 'life');
  for (const value of ['one', 'two']) await terminal.cardea(['put', 'life/a'], { stdin: value });
  expect(await printed('secret', 'rollback', 'life/a@1')).toBe('life/a version 3');
  expect(await printed('get', 'life/a')).toBe('one');
  expect((await printed('secret', 'versions', 'life/a')).split('\n')).toHaveLength(4);
  expect(await printed('secret', 'delete', 'life/a')).toBe('life/a is in the trash.');
  expect((await terminal.cardea(['get', 'life/a'])).code).toBe(5);
  await printed('secret', 'restore', 'life/a');
  expect(await printed('secret', 'move', 'life/a', 'life/b')).toBe('life/a is now life/b.');
  expect(await printed('secret', 'search', 'b', '--json')).toContain('"vault":"life"');
  expect(await printed('get', 'life/b')).toBe('one');
  expect((await terminal.cardea(['secret', 'rollback', 'life/b'])).code).toBe(2);
});

test('a document goes in as a dry run first, and comes out as it was', async () => {
  await printed('vault', 'create', 'docs');
  const words = ['secret', 'import', 'docs', '--format', 'dotenv', '--prefix', 'app'];
  const dry = await terminal.cardea([...words, '--dry-run'], { stdin: 'A=1\n' });
  expect(dry.stdout).toMatch(/A\s+created/);
  expect(await printed('ls', 'docs')).not.toContain('app/A');
  await terminal.cardea(words, { stdin: 'A=1\n' });
  expect(JSON.parse(await printed('secret', 'export', 'docs', '--prefix', 'app', '--format', 'json'))).toEqual({
    A: '1',
  });
});

test('a grant gives a right and takes it back, and explain names the rule', async () => {
  await printed('vault', 'create', 'team');
  await terminal.cardea(['put', 'team/db/a'], { stdin: 'v' });
  await printed('grant', 'put', 'team', 'user:alice', '--secrets', 'list,read', '--path-prefix', 'db');
  const alice = await system.as('alice');
  expect(await alice.readSecret('team', 'db/a')).toBe('v');
  expect(await printed('explain', 'user:alice', 'secret.read', 'team/db/a')).toMatch(/^allowed by grant/);
  expect(await printed('explain', 'user:alice', 'secret.write', 'team/db/a')).toMatch(/^not allowed by/);
  expect(await printed('grant', 'list', 'team')).toMatch(/user:alice\s+list,read/);
  await printed('grant', 'delete', 'team', 'user:alice');
  await alice.get('/vaults/team/secrets/db/a').expect(404);
});

test('a new user signs in with the one-time password, until the user is disabled', async () => {
  const password = await printed('user', 'create', 'dora', '--role', 'developer');
  const signIn = { username: 'dora', password };
  await system.stranger.post('/auth/login', signIn).expect(200);
  await printed('user', 'change', 'dora', '--disable');
  await system.stranger.post('/auth/login', signIn).expect(401);
  expect((await terminal.cardea(['user', 'change', 'dora', '--disable', '--enable'])).code).toBe(2);
  expect(await recordsOfAction(system, 'user.change')).toEqual(['allow dora']);
});

test('an application signs in with the secret that was shown, and not after it was deleted', async () => {
  const { clientId, clientSecret } = JSON.parse(await printed('app', 'create', 'robot', '--json')) as Record<
    string,
    string
  >;
  const env = { CARDEA_TOKEN: '', CARDEA_CLIENT_ID: clientId, CARDEA_CLIENT_SECRET: clientSecret };
  expect((await terminal.cardea(['whoami'], { env })).stdout).toContain('robot');
  await printed('app', 'delete', 'robot', '--yes');
  expect((await terminal.cardea(['whoami'], { env })).code).toBe(3);
});

test('an export of the audit log is whole: the verifier of the server is content with it', async () => {
  await printed('audit', 'state', 'state.jsonl');
  await printed('audit', 'export', 'audit.tar');
  const [state, file] = ['state.jsonl', 'audit.tar'].map((name) => join(terminal.folder, name)) as [string, string];
  for (const path of [state, file]) expect(statSync(path).mode & 0o777).toBe(0o600);
  const verifier = fileURLToPath(new URL('../../services/audit-service/src/verifier.mjs', import.meta.url));
  const key = readFileSync(join(system.dataDir, 'audit', 'verifier-key'), 'utf8').trim();
  const checked = execFileSync(process.execPath, [verifier, '--key', key, file, '--state', state]).toString();
  expect(checked).toMatch(/are as the log says/);
  expect((await terminal.cardea(['audit', 'export', 'audit.tar'])).code).toBe(1);
  // A failed one leaves nothing in the way of the next.
  const bob = { env: { CARDEA_TOKEN: (await system.as('bob')).token } };
  expect((await terminal.cardea(['audit', 'export', 'bob.tar'], bob)).code).toBe(4);
  expect(existsSync(join(terminal.folder, 'bob.tar'))).toBe(false);
  const lines = (await printed('audit', 'query', '--decision', 'allow', '--action', 'audit.export', '--json')).split(
    '\n',
  );
  expect(lines).toHaveLength(2);
});

test('a rotation starts, pauses and ends by its id', async () => {
  await printed('vault', 'create', 'turning');
  const id = await printed('rotation', 'start', 'dek', '--vault', 'turning');
  expect(await printed('rotation', 'pause', id)).toBe('The rotation is paused.');
  expect(await printed('rotation', 'cancel', id)).toBe('The rotation is cancelled.');
  expect((await terminal.cardea(['rotation', 'start', 'both'])).code).toBe(2);
  expect(await printed('status')).toMatch(/seal\s+open/);
});
