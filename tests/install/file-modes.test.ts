import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Person } from '@cardea/testkit/person';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { filesIn, freePorts, killAll, start } from './installation.ts';

// Profile mini, whose start command owns all files of an installation. The services of profile full run the same code.
const run = promisify(execFile);
const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
let folder: string;
let dataDir: string;
let port: number;
let password: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-modes-'));
  dataDir = join(folder, 'data');
  port = await freePorts();
  const installation = start({ dataDir, port });
  const admin = await signIn(await installation.ready());
  await admin.createVault('kept');
  await admin.putSecret('kept', 'name', 'value');
  await installation.stop();
});
afterEach(killAll);
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function signIn(url: string): Promise<Person> {
  password ??= (await readFile(join(dataDir, 'initial-admin-password'), 'utf8')).trim();
  return Person.signIn(url, 'admin', password);
}

/** Whatever other users could open below the data folder, and the folder itself. The verifier's key is for everybody. */
async function openToOthers(): Promise<string[]> {
  const paths = ['', ...(await readdir(dataDir, { recursive: true }))];
  const modes = await Promise.all(paths.map(async (path) => ({ path, mode: (await stat(join(dataDir, path))).mode })));
  return modes
    .filter(({ path, mode }) => (mode & 0o077) !== 0 && path !== 'audit/verifier-key')
    .map(({ path }) => path);
}

describe('a start', () => {
  test('closes folders and databases that others could open, says which, and loses nothing', async () => {
    const loose = ['api/cardea.db', 'audit/audit.db', 'audit/last-signed.json', 'kek/keyring.json'];
    const folders = ['', 'api', 'audit', 'kek', 'tls'];
    for (const path of folders) await chmod(join(dataDir, path), 0o755);
    for (const path of loose) await chmod(join(dataDir, path), 0o644);
    expect((await openToOthers()).toSorted()).toEqual([...folders, ...loose].toSorted());

    const installation = start({ dataDir, port });
    const admin = await signIn(await installation.ready());
    expect(await openToOthers()).toEqual([]);
    const lines = installation
      .output()
      .split('\n')
      .filter((line) => line.includes('users of this machine'));
    // Once by the start command, and once by each service with a folder.
    expect(lines).toHaveLength(4);
    for (const path of [...folders, ...loose]) expect(lines.join()).toContain(join(dataDir, path));
    expect(await admin.readSecret('kept', 'name')).toBe('value');
    expect((await admin.auditEntries({ action: 'secret.read' }))[0]!.event).toMatchObject({ decision: 'allow' });
    await installation.stop();
  });

  test('says nothing if others can open nothing', async () => {
    const installation = start({ dataDir, port });
    await installation.ready();
    expect(installation.output()).not.toContain('other users');
    await installation.stop();
  });

  test.each([
    ['tls/ca.key', 0o600],
    ['tls/api-service.key', 0o600],
    ['audit/signing-key', 0o600],
    ['kek/seal-key', 0o400],
  ])('is refused while others can read %s', async (path, mode) => {
    await chmod(join(dataDir, path), mode | 0o044);
    const { ended, output } = start({ dataDir, port });
    expect(await ended()).toBe(78);
    expect(output()).toContain(`${join(dataDir, path)} can be read by other users of this machine: run chmod 400`);
    await chmod(join(dataDir, path), mode);
  });
});

describe('the commands of the docs', () => {
  test('make archives that only their owner can read, and bring all back from them', async () => {
    const installation = start({ dataDir, port });
    await installation.ready();
    await runAsShown(await commandsIn('backup-restore.md', '## Backup'));
    await installation.stop();
    const archives = (await filesIn(folder)).filter(({ path }) => path.endsWith('.tar'));
    expect(archives.map(({ path, mode }) => [path, mode.toString(8)])).toEqual([
      ['backups/monday/cardea-data.tar', '600'],
      ['backups/monday/cardea-keys.tar', '600'],
    ]);

    await rm(dataDir, { recursive: true });
    const restore = await commandsIn('backup-restore.md', '## Restore');
    expect(restore.pop()).toMatch(/ start$/);
    await runAsShown(restore);
    expect(await openToOthers()).toEqual([]);
    const restored = start({ dataDir, port });
    const admin = await signIn(await restored.ready());
    expect(await admin.readSecret('kept', 'name')).toBe('value');
    expect(restored.output()).not.toContain('other users');
    await restored.stop();
  });

  test('make no file that others can read', async () => {
    const makesFile = /(^|[^<0-9])>>? ?[\w./"$]*[A-Za-z]|\s-o [\w./]+|\btar\b.* -?c\w*f /;
    const readable: string[] = [];
    for (const page of (await readdir(docs)).filter((name) => name.endsWith('.md'))) {
      for (const block of blocksIn(await readFile(join(docs, page), 'utf8'))) {
        if (makesFile.test(block.replaceAll(/<\w+>/g, '')) && !block.includes('umask 077'))
          readable.push(`${page}: ${block}`);
      }
    }
    expect(readable).toEqual([]);
  });
});

/** Runs commands in the folder that has the folder `data`, as on a machine where new files can be read by everybody. */
async function runAsShown(commands: string[]): Promise<void> {
  expect(commands.length).toBeGreaterThan(0);
  const shown = commands.map((line) => line.replaceAll('/srv/backups', join(folder, 'backups')));
  // npx would ask the registry.
  const npx = 'npx() { "$NODE" "$ROOT"/deploy/backup/"$4"-main.ts "$5"; }';
  const env = { PATH: process.env['PATH'], CARDEA_DATA_DIR: dataDir, NODE: process.execPath, ROOT: join(docs, '..') };
  await run('bash', ['-ec', ['umask 022', npx, ...shown].join('\n')], { cwd: folder, env });
}

/** The lines of the first block of commands under a heading. */
async function commandsIn(page: string, heading: string): Promise<string[]> {
  const text = await readFile(join(docs, page), 'utf8');
  const [block = ''] = blocksIn(text.slice(text.indexOf(`\n${heading}\n`)));
  return block.split('\n').map((line) => line.trim());
}

/** The blocks of commands, which Markdown indents by four blanks, and the fenced scripts of a shell, each as a whole. */
function blocksIn(text: string): string[] {
  return [...text.matchAll(/^```(?<language>\w*)\n[^]*?^```$|(?:^ {4,}\S.*\n)+/gm)]
    .filter(({ groups }) => ['sh', undefined].includes(groups!['language']))
    .map(([block]) => block.trimEnd());
}
