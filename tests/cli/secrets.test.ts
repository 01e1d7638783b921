import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { shown, useTerminal } from './terminal.ts';

const [system] = useSystem('mini');
const terminal = useTerminal();

beforeEach(async () => {
  const alice = await system.as('alice');
  terminal.env['CARDEA_URL'] = system.url;
  terminal.env['CARDEA_TOKEN'] = alice.token;
});

async function vault(name: string) {
  await (await system.as('alice')).createVault(name);
}

test('a value goes in by a pipe and comes out as it was, whatever its bytes', async () => {
  await vault('bytes');
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const put = await terminal.cardea(['put', 'bytes/all'], { stdin: bytes });
  expect([put.code, put.stdout, put.stderr]).toEqual([0, 'bytes/all version 1\n', '']);
  const again = await terminal.cardea(['put', 'bytes/all'], { stdin: bytes });
  expect(again.stdout).toBe('bytes/all version 1 (unchanged)\n');
  expect((await terminal.shell('cardea get bytes/all | od -An -v -tu1 | tr -s " \\n" " "')).stdout.trim()).toBe(
    [...bytes].join(' '),
  );
  await terminal.cardea(['put', 'bytes/text'], { stdin: 'é' });
  expect((await terminal.cardea(['get', 'bytes/text'])).stdout).toBe('é');
  const alice = await system.as('alice');
  expect((await alice.get('/vaults/bytes/secrets/text').expect(200)).body).toMatchObject({
    value: 'é',
    encoding: 'utf8',
  });
  const records = await (await system.as('admin')).auditEntries({ vault: 'bytes', action: 'secret.read' });
  expect(records.map(({ event }) => event.resource?.name)).toEqual(['text', 'text', 'all']);
});

test('a newline that echo leaves is kept and told of, or left out with --trim', async () => {
  await vault('newline');
  const kept = await terminal.cardea(['put', 'newline/a'], { stdin: 'v\n' });
  expect(kept.stderr).toContain('ends with a newline');
  expect((await terminal.cardea(['get', 'newline/a'])).stdout).toBe('v\n');
  const trimmed = await terminal.cardea(['put', 'newline/a', '--trim'], { stdin: 'v\n' });
  expect([trimmed.stdout, trimmed.stderr]).toEqual(['newline/a version 2\n', '']);
  // A file of several lines ends with one as a rule.
  expect((await terminal.cardea(['put', 'newline/b'], { stdin: 'v\nw\n' })).stderr).toBe('');
});

test('a value is asked for at a terminal, and shown there with a newline', async () => {
  await vault('typed');
  const put = terminal.startInTerminal(['put', 'typed/a']);
  await put.says(/Value/);
  put.type('hunter2\r');
  const ended = await put.ended;
  expect(shown(ended)).toContain('typed/a version 1');
  expect(shown(ended)).not.toContain('hunter2');
  expect(shown(await terminal.startInTerminal(['get', 'typed/a']).ended)).toBe('hunter2\n');
});

test('a terminal is not shown what it would obey, and a file takes it, once', async () => {
  await vault('escape');
  await terminal.cardea(['put', 'escape/a'], { stdin: 'red \u001b[31m' });
  const refused = await terminal.startInTerminal(['get', 'escape/a']).ended;
  expect([refused.code, refused.stdout]).toEqual([2, expect.stringContaining('that a terminal cannot show')]);
  expect((await terminal.cardea(['get', 'escape/a', '--out', 'value'])).code).toBe(0);
  const file = join(terminal.folder, 'value');
  expect([readFileSync(file, 'utf8'), statSync(file).mode & 0o777]).toEqual(['red \u001b[31m', 0o600]);
  expect((await terminal.cardea(['get', 'escape/a', '--out', 'value'])).code).toBe(1);

  await terminal.cardea(['key', 'create', 'escape/k', 'aes-256-gcm']);
  await terminal.shell('cardea key encrypt escape/k value >sealed');
  const decrypt = ['key', 'decrypt', 'escape/k', 'sealed'];
  const opened = await terminal.startInTerminal(decrypt).ended;
  expect([opened.code, opened.stdout]).toEqual([2, expect.stringContaining('that a terminal cannot show')]);
  expect((await terminal.cardea(decrypt)).stdout).toBe('red \u001b[31m');
  // Its direction would change, which dotenv, JSON and YAML do not escape.
  await terminal.cardea(['put', 'escape/b'], { stdin: 'a\u202eb' });
  const document = ['secret', 'export', 'escape', '--prefix', 'b', '--format', 'json'];
  expect((await terminal.startInTerminal(document).ended).code).toBe(2);
  expect((await terminal.cardea(document)).code).toBe(0);
});

test('a write has its options, and a condition that fails says so', async () => {
  await vault('options');
  const words = ['put', 'options/a', '--if-new', '--meta', 'owner=ann', '--meta', 'env=a=b', '--ttl', '3600', '--json'];
  const { stdout } = await terminal.cardea(words, { stdin: 'v' });
  expect(JSON.parse(stdout)).toMatchObject({ name: 'a', version: 1, changed: true, expiresAt: expect.any(String) });
  const read = JSON.parse((await terminal.cardea(['get', 'options/a', '--json'])).stdout) as object;
  expect(read).toMatchObject({ value: 'v', metadata: { owner: 'ann', env: 'a=b' } });
  for (const condition of [['--if-new'], ['--if-version', '7']]) {
    expect((await terminal.cardea(['put', 'options/a', ...condition], { stdin: 'w' })).code).toBe(6);
  }
  expect((await terminal.cardea(['put', 'options/a', '--meta', 'owner'], { stdin: 'w' })).code).toBe(2);
});

test('a list is a table for people and a line an item for programs', async () => {
  await vault('names');
  for (const name of ['db/password', 'db/user', 'app']) await terminal.cardea(['put', `names/${name}`], { stdin: 'v' });
  const table = columns((await terminal.cardea(['ls', 'names'])).stdout);
  expect(table).toEqual([
    ['NAME', 'VERSION'],
    ['app', '1'],
    ['db/password', '1'],
    ['db/user', '1'],
  ]);
  expect(columns((await terminal.cardea(['ls', 'names', '--folders'])).stdout)).toEqual([
    ['NAME', 'VERSION'],
    ['app', '1'],
    ['db/'],
  ]);
  const lines = (await terminal.cardea(['ls', 'names/db/', '--json'])).stdout.trim().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { name: string }).name)).toEqual(['db/password', 'db/user']);
  expect((await terminal.cardea(['ls'])).stdout).toMatch(/^VAULT[^]*\nnames\b/);
});

test('each kind of failure has its exit code and says what to do next', async () => {
  await vault('codes');
  await terminal.cardea(['put', 'codes/a'], { stdin: 'v' });
  const bob = { env: { CARDEA_TOKEN: (await system.as('bob')).token } };
  const codeOf = async (words: string[], how = {}) => (await terminal.cardea(words, how)).code;
  expect(await codeOf(['get', 'codes/none'])).toBe(5);
  expect(await codeOf(['get', 'codes/a'], bob)).toBe(5);
  expect(await codeOf(['get', 'codes'])).toBe(2);
  expect(await codeOf(['get', 'codes/../a'])).toBe(2);
  expect(await codeOf(['get', 'codes/a'], { env: { CARDEA_TOKEN: 'nonsense' } })).toBe(3);
  expect(await codeOf(['vault', 'create', 'codes'])).toBe(6);
  expect(await codeOf(['put', 'codes/a', '--ttl', 'soon'], { stdin: 'v' })).toBe(2);
  await (await system.as('alice')).put('/vaults/codes/grants/user:bob', { secrets: ['list'], keys: [] }).expect(201);
  const refused = await terminal.cardea(['get', 'codes/a', '--verbose'], bob);
  expect(refused.code).toBe(4);
  expect(refused.stderr).toMatch(/Ask an owner[^]*code access_denied, status 403, request [0-9a-f-]{36}/);
  const [record] = await (
    await system.as('admin')
  ).auditEntries({ vault: 'codes', action: 'secret.read', decision: 'deny' });
  expect(refused.stderr).toContain(record!.event.requestId!);
});

describe('a server that is not what it seems', () => {
  let answer: { status: number; type: string; body: string };
  const server = createServer((_req, res) => {
    res.writeHead(answer.status, { 'Content-Type': answer.type }).end(answer.body);
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => new Promise((resolve) => server.close(resolve)));
  const ask = (words: string[], how = {}) => {
    const { port } = server.address() as AddressInfo;
    return terminal.cardea(['--url', `http://127.0.0.1:${port}`, ...words], how);
  };

  test('stores nothing with a page to sign in to a network, and the command says so', async () => {
    answer = { status: 200, type: 'text/html', body: '<html>Welcome!</html>' };
    const put = await ask(['put', 'a/b'], { stdin: 'v' });
    expect([put.code, put.stdout]).toEqual([7, '']);
    expect(put.stderr).toContain("the answer is 200, and not Cardea's. It may have been done");
    expect((await ask(['audit', 'checkpoint'])).code).toBe(7);
  });

  test('moves no cursor with an error, and an error that nobody knows is none of success', async () => {
    const problem = { code: 'constructor', detail: 'a\u001b[2J\u009b31mb\u202e' };
    answer = { status: 400, type: 'application/problem+json', body: JSON.stringify(problem) };
    const { code, stderr } = await ask(['vault', 'list']);
    expect([code, stderr]).toEqual([2, 'cardea: a\ufffd[2J\ufffd31mb\ufffd.\n']);
  });

  test('moves no cursor with JSON, which says the same', async () => {
    const item = { name: 'a', description: '\u009b31m\u202e\u007f' };
    answer = { status: 200, type: 'application/json', body: JSON.stringify({ items: [item] }) };
    const { stdout } = await ask(['vault', 'list', '--json']);
    expect(stdout).toMatch(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(stdout)).toEqual(item);
  });
});

test('a server that is away is 7', async () => {
  expect((await terminal.cardea(['--url', 'http://127.0.0.1:9', 'whoami'])).code).toBe(7);
});

test('what is lost for ever must be named, and without a terminal it needs --yes', async () => {
  await vault('loss');
  expect((await terminal.cardea(['vault', 'delete', 'loss'])).code).toBe(2);
  for (const [typed, code] of [
    ['lost', 1],
    ['loss', 0],
  ] as const) {
    const asked = terminal.startInTerminal(['vault', 'delete', 'loss']);
    await asked.says(/Type loss to go on/);
    asked.type(`${typed}\r`);
    expect((await asked.ended).code).toBe(code);
  }
  const [record] = await (await system.as('admin')).auditEntries({ vault: 'loss', action: 'vault.delete' });
  expect(record!.event.decision).toBe('allow');
});

/** The first two columns of a table. */
function columns(text: string): string[][] {
  const lines = text.trim().split('\n');
  return lines.map((line) => line.split(/ {2,}/).slice(0, 2));
}
