import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findServer } from '@cardea/testkit/servers';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { at, keyTrail, makeKey } from './ground.ts';

const run = promisify(execFile);
// In one profile: this is about the words of docs/keys.md. The calls are tested in both.
const [system, { alice }] = useSystem('mini');
const VAULT = 'payments';
let folder: string;
let page: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-keys-page-'));
  page = await readFile(new URL('../../docs/keys.md', import.meta.url), 'utf8');
  for (const program of ['curl', 'openssl', 'jq']) findServer(program);
  await run('python3', ['-m', 'venv', join(folder, 'venv')]);
  await run(join(folder, 'venv/bin/pip'), ['install', '--quiet', 'cryptography==50.0.2']);
  await alice.createVault(VAULT);
  await makeKey(alice, VAULT, 'files', 'aes-256-gcm');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('every command of the page works, from the first to the last', async () => {
  // A program in a fence is another test. What is indented by four blanks is a command.
  const commands = page
    .replaceAll(/^```[^]*?^```$/gm, '')
    .split('\n')
    .filter((line) => line.startsWith('    '))
    .map((line) => line.slice(4));
  expect(commands.length).toBeGreaterThan(30);
  const before = [
    'set -euo pipefail',
    // The page shows answers. Here a refusal ends the run, with what it says.
    'curl() { command curl --fail-with-body -w "\\n" "$@"; }',
    `API=${system.url}/api/v1`,
    "JSON='Content-Type: application/json'",
    `AUTH='Authorization: Bearer ${alice.token}'`,
  ];
  const script = join(folder, 'page.sh');
  await writeFile(script, [...before, ...commands, 'echo the end'].join('\n'));
  const { stdout } = await run('bash', [script], { cwd: folder });
  expect(stdout).toContain('"plaintextBase64":"NDI0Mg=="');
  expect(stdout.trimEnd().endsWith('the end')).toBe(true);
  expect((await keyTrail(system, VAULT)).filter((line) => line.includes('!'))).toEqual([]);
});

describe('the program for data keys', () => {
  const programs: [language: string, fence: string, file: string, command: (path: string) => [string, string]][] = [
    ['curl and openssl', 'sh', 'data.sh', (path) => ['/bin/sh', path]],
    ['Python', 'python', 'data.py', (path) => [join(folder, 'venv/bin/python'), path]],
    ['Node', 'js', 'data.mjs', (path) => [process.execPath, path]],
  ];

  /** Writes a program of the page, by the word behind its fence. Returns a function that runs it. */
  async function programOf([, fence, file, command]: (typeof programs)[0]) {
    const blocks = page.split(`\n\`\`\`${fence}\n`);
    expect(blocks).toHaveLength(2);
    const path = join(folder, file);
    await writeFile(path, blocks[1]!.slice(0, blocks[1]!.indexOf('\n```') + 1));
    const [program, script] = command(path);
    const env = { PATH: process.env['PATH'], CARDEA_KEY: `${system.url}/api/v1${at(VAULT, 'files')}` };
    return (verb: string, name: string) =>
      run(program, [script, verb, join(folder, name)], { env: { ...env, CARDEA_TOKEN: alice.token } });
  }

  // More than one call may encrypt.
  const content = Buffer.alloc(200_000, 'a long report ');

  test.each(programs)('in %s seals a file and opens it, and nothing that was changed', async (...one) => {
    const call = await programOf(one);
    const name = `report-${one[1]}`;
    const [plain, sealed] = [join(folder, name), join(folder, `${name}.sealed`)];
    await writeFile(plain, content);
    await call('seal', name);
    await rm(plain);
    await call('open', name);
    expect((await readFile(plain)).equals(content)).toBe(true);
    expect((await keyTrail(system, VAULT)).slice(-2)).toEqual([
      'key.generateDataKey files v1 grant:owner',
      'key.decrypt files v1 grant:owner',
    ]);

    const bytes = await readFile(sealed);
    expect(bytes.includes('a long report')).toBe(false);
    bytes[100_000]! ^= 1;
    await writeFile(sealed, bytes);
    await rm(plain);
    await expect(call('open', name)).rejects.toThrow('Command failed');
    await expect(readFile(plain)).rejects.toThrow('ENOENT');

    // The data key is bound to the name of its file.
    await writeFile(join(folder, 'other.key'), await readFile(join(folder, `${name}.key`)));
    await writeFile(join(folder, 'other.sealed'), bytes);
    await expect(call('open', 'other')).rejects.toThrow('Command failed');
    expect((await keyTrail(system, VAULT)).at(-1)).toBe('key.decrypt! files not-authentic');
  });

  test('in Python opens what the one in Node has sealed, and the other way round', async () => {
    const [inPython, inNode] = [await programOf(programs[1]!), await programOf(programs[2]!)];
    for (const [seal, open] of [
      [inPython, inNode],
      [inNode, inPython],
    ] as const) {
      const plain = join(folder, 'shared');
      await writeFile(plain, content);
      await seal('seal', 'shared');
      await rm(plain);
      await open('open', 'shared');
      expect((await readFile(plain)).equals(content)).toBe(true);
    }
  });
});
