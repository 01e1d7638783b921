import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
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

/** An editor that shows where its file is and who may read it, and writes another text. */
function editorOf(text: string, more = ''): NodeJS.ProcessEnv {
  const script = `#!/bin/sh\nstat -c '%a' "$1" >mode; stat -f -c '%T' "$1" >>mode; printf %s "$1" >edited\nenv >environment\n${more}\nprintf '${text}' >"$1"\n`;
  writeFileSync(join(terminal.folder, 'editor'), script, { mode: 0o700 });
  return { EDITOR: './editor' };
}
const readFrom = (file: string) => readFileSync(join(terminal.folder, file), 'utf8');
const edit = (address: string, env: NodeJS.ProcessEnv) => terminal.cardea(['secret', 'edit', address], { env });

describe('a value in an editor', () => {
  test('is in memory, readable by nobody else, and gone afterwards; the newline of the editor is left out', async () => {
    await vault('edited');
    const made = await edit('edited/a', editorOf('new\\n'));
    expect([made.code, made.stdout, made.stderr]).toEqual([0, 'edited/a version 1\n', '']);
    expect([readFrom('mode'), existsSync(readFrom('edited'))]).toEqual(['600\ntmpfs\n', false]);
    expect(readFrom('environment')).not.toContain('CARDEA_TOKEN');
    expect((await edit('edited/a', editorOf('new\\n'))).stdout).toBe('edited/a is unchanged.\n');
    await terminal.cardea(['put', 'edited/a', '--content-type', 'text/x'], { stdin: 'lines\n' });
    expect((await edit('edited/a', editorOf('more\\nlines\\n'))).stdout).toBe('edited/a version 3\n');
    const alice = await system.as('alice');
    expect((await alice.get('/vaults/edited/secrets/a').expect(200)).body).toMatchObject({
      value: 'more\nlines\n',
      contentType: 'text/x',
    });
    const entries = await (await system.as('admin')).auditEntries({ vault: 'edited', name: 'a' });
    const writes = entries.filter(({ event }) => event.action === 'secret.write' && event.decision === 'allow');
    expect(writes.map(({ event }) => event.resource?.version)).toEqual([3, 2, 1]);
  });

  test('is not written over what somebody else has written meanwhile, and is not lost', async () => {
    await vault('raced');
    await terminal.cardea(['put', 'raced/a'], { stdin: 'before' });
    const other = `printf theirs | CARDEA_TOKEN='${terminal.env['CARDEA_TOKEN']}' cardea put raced/a >>said`;
    const { code, stderr } = await edit('raced/a', editorOf('mine', other));
    expect([code, stderr]).toEqual([
      6,
      expect.stringContaining(`What you typed is in ${readFrom('edited')}, in memory`),
    ]);
    expect(readFileSync(readFrom('edited'), 'utf8')).toBe('mine');
    rmSync(dirname(readFrom('edited')), { recursive: true });
    expect((await terminal.cardea(['get', 'raced/a'])).stdout).toBe('theirs');
  });

  test('is not written if the editor fails or is ended, and its file goes', async () => {
    await vault('failed');
    await terminal.cardea(['put', 'failed/a'], { stdin: 'before' });
    const failed = await edit('failed/a', editorOf('x', 'exit 3'));
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining('exit code 3, so nothing is written')]);
    expect(existsSync(readFrom('edited'))).toBe(false);
    const env = editorOf('x', 'echo open >&2; exec sleep 600');
    const running = terminal.start(['secret', 'edit', 'failed/a'], { env });
    await running.says(/open/);
    process.kill(running.pid, 'SIGTERM');
    expect((await running.ended).code).toBe(1);
    expect([existsSync(readFrom('edited')), (await terminal.cardea(['get', 'failed/a'])).stdout]).toEqual([
      false,
      'before',
    ]);
  });

  test('is only a text, and no reference', async () => {
    await vault('kinds');
    await terminal.cardea(['put', 'kinds/bytes'], { stdin: Uint8Array.of(255) });
    const reference = JSON.stringify({ $ref: { vault: 'kinds', name: 'bytes' } });
    const type = 'application/vnd.cardea.reference+json';
    await terminal.cardea(['put', 'kinds/reference', '--content-type', type], { stdin: reference });
    for (const [address, why] of [
      ['kinds/bytes', 'no text'],
      ['kinds/reference', 'is a reference'],
      ['kinds/bytes@1', 'leave out the @'],
    ] as const) {
      const { code, stderr } = await edit(address, { EDITOR: 'false' });
      expect([code === 0, stderr]).toEqual([false, expect.stringContaining(why)]);
    }
  });
});

test('a difference shows the lines of both values, and says so in the log', async () => {
  await vault('compared');
  for (const value of ['a\nb\nc\n', 'a\nB\nc', 'a\nB\nc\nd'])
    await terminal.cardea(['put', 'compared/x'], { stdin: value });
  const diff = async (...words: string[]) => (await terminal.cardea(['secret', 'diff', ...words])).stdout;
  expect(await diff('compared/x')).toBe('--- compared/x@2\n+++ compared/x@3\n a\n B\n-c\n+c\n+d\n');
  const [first, second] = ['compared/x@1', 'compared/x@2'];
  expect(await diff(first, second)).toBe(
    `--- ${first}\n+++ ${second}\n a\n-b\n-c\n+B\n+c\n\\ only one of them ends with a newline\n`,
  );
  expect(JSON.parse(await diff(first, first, '--json'))).toMatchObject({
    isSame: true,
    lines: [{ in: 'both' }, {}, {}],
  });
  await terminal.cardea(['put', 'compared/one'], { stdin: 'v' });
  const alone = await terminal.cardea(['secret', 'diff', 'compared/one']);
  expect([alone.code, alone.stderr]).toEqual([2, expect.stringContaining('has no other version that can be read')]);
  const reads = await (await system.as('admin')).auditEntries({ vault: 'compared', action: 'secret.read' });
  expect(reads.map(({ event }) => event.resource?.version)).toEqual([1, 1, 2, 1, 3, 2]);
});

// Shells that a machine may not have are tried where they are. CI has bash.
const shells = ['bash', 'zsh', 'fish'].filter((shell) => existsSync(`/usr/bin/${shell}`));

test.each(shells)('%s completes commands and options', async (shell) => {
  const asks: Record<string, (words: string) => string> = {
    bash: (words) =>
      `eval "$(cardea completion bash)"; COMP_WORDS=(cardea ${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _cardea; printf '%s\\n' "\${COMPREPLY[@]}"`,
    // compadd works only while somebody types.
    zsh: (words) =>
      `compdef() {}; compadd() { shift; print -l -- $@ }; eval "$(cardea completion zsh)"; words=(cardea ${words}); CURRENT=$#words; _cardea`,
    fish: (words) => `cardea completion fish | source; complete -C 'cardea ${words}'`,
  };
  writeFileSync(join(terminal.folder, 'ask'), '');
  const completed = async (words: string) => {
    writeFileSync(join(terminal.folder, 'ask'), asks[shell]!(words));
    const { stdout, stderr } = await terminal.shell(`${shell} ./ask`);
    expect(stderr).toBe('');
    return stdout.trim().split('\n');
  };
  expect(await completed('secret ro')).toEqual(['rollback']);
  expect((await completed('secret ge')).toSorted()).toEqual(['generate', 'get']);
  expect(await completed('secret put --con')).toEqual(['--content-type']);
});
