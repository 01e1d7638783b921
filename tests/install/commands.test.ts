import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

// Whatever an operator types by mistake makes nothing, and is answered in words.
const root = fileURLToPath(new URL('../../', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-commands-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs a command in an empty folder with these variables. What it makes there is in `made`. */
async function type(script: string, words: string[], variables: Record<string, string> = {}) {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith('CARDEA_'));
  const env = { ...Object.fromEntries(others), CARDEA_DATA_DIR: join(folder, 'data'), ...variables };
  const args = ['--disable-warning=ExperimentalWarning', join(root, script), ...words];
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code: code as number, stdout, stderr, made: await readdir(folder) };
}

const commands = [
  'deploy/start.mjs',
  'deploy/stack/stack-main.ts',
  'deploy/make-certificates.ts',
  'deploy/migrate.ts',
  'deploy/backup/backup-main.ts',
  'deploy/backup/restore-main.ts',
  'services/audit-service/src/check-log-main.ts',
  'services/kek-service/src/seal-main.ts',
  'services/kek-service/src/operator-main.ts',
  'services/api-service/src/recover-admin-main.ts',
  'services/audit-service/src/new-log-main.ts',
  'services/api-service/src/main.ts',
  'services/kek-service/src/main.ts',
  'services/audit-service/src/main.ts',
  'services/worker/src/main.ts',
];

describe('makes nothing when it is asked for help, and answers an unknown option with the nearest one:', () => {
  test('every command that package.json gives to an operator is in this list', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object };
    const operators = Object.entries(scripts).filter(([name]) =>
      ['start', 'stack', 'seal', 'operator', 'recover-admin', 'new-log', 'backup', 'restore'].includes(name),
    );
    for (const [, line] of operators) expect(commands).toContain((line as string).split(' ').at(-1));
  });

  test.each(commands)('%s', async (script) => {
    const help = await type(script, ['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '', made: [] });
    expect(help.stdout).toMatch(/(usage: (pnpm|node)|npx -y pnpm@12) \S+/);
    const wrong = await type(script, ['--hepl', '--check-setings']);
    expect(wrong).toMatchObject({ code: 78, stdout: '', made: [] });
    expect(wrong.stderr).toContain(
      'there is no option --hepl, --help is the nearest one\nthere is no option --check-setings,',
    );
    expect(wrong.stderr).toContain(help.stdout);
  });

  test('services/audit-service/src/verifier.mjs, whose exit codes mean other things', async () => {
    const script = 'services/audit-service/src/verifier.mjs';
    expect(await type(script, ['--help'])).toMatchObject({
      code: 0,
      stderr: '',
      stdout: expect.stringContaining('usage: '),
    });
    const wrong = await type(script, ['--kye', 'a', 'b']);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no option --kye\nusage: ') });
  });
});

test('wrong words after a command are named all at once', async () => {
  const wrong = await type('deploy/make-certificates.ts', ['tls', 'kek', 'audit=a b']);
  expect(wrong).toMatchObject({ code: 78, made: [] });
  expect(wrong.stderr).toMatch(/^"kek" is not a list of DNS names.*\n"audit=a b" is not a list of DNS names/);
});

describe('the start command', () => {
  const wrong = { CARDEA_PORT: 'abc', CARDEA_PROT: '1', CARDEA_SEAL: 'wax', CARDEA_TRASH_DAYS: 'x' };
  const named = [
    'CARDEA_PORT is "abc": set it to a number from 1 to 65523',
    'CARDEA_PROT is no setting, CARDEA_PORT is the nearest one',
    'CARDEA_SEAL must be file or passphrase, not "wax"',
    'CARDEA_TRASH_DAYS must be',
  ];

  test.each([[[]], [['--check-settings']]])(
    '%j names all wrong settings at once, each once, and makes nothing',
    async (words) => {
      const { code, stdout, stderr, made } = await type('deploy/start.mjs', words, wrong);
      expect([code, stdout, made]).toEqual([78, '', []]);
      const lines = stderr.trimEnd().split('\n');
      expect(lines).toHaveLength(named.length);
      for (const problem of named) expect(lines).toContainEqual(expect.stringContaining(problem));
    },
  );

  test('--check-settings says that settings are right, and starts nothing', async () => {
    expect(await type('deploy/start.mjs', ['--check-settings'])).toEqual({
      code: 0,
      stdout: 'the settings are right\n',
      stderr: '',
      made: [],
    });
  });
});
