import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { constants, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { newBackupId, pack, unpack } from '@cardea/deploy/backup/archives';
import { openSqlite } from '@cardea/storage/sqlite';
import { Person } from '@cardea/testkit/person';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { freePorts, killAll, start } from './installation.ts';

// The commands `pnpm backup` and `pnpm restore`. The backup is made once, under writes and while the KEK rotates.
const PASSWORD = 'a password of the admin';
const WRITERS = 8;
interface Entry {
  seq: number;
  event: { ts: string; changes: Record<string, { to?: unknown }> };
}
/** The commands that an operator may call while Cardea does not run. */
const WRITERS_OF_DATA = [
  ['deploy/backup/restore-main.ts', 'BACKUP'],
  ['deploy/backup/backup-main.ts', 'elsewhere'],
  ['services/api-service/src/recover-admin-main.ts', 'admin'],
  ['services/audit-service/src/new-log-main.ts', 'a reason'],
  ['services/kek-service/src/seal-main.ts', 'add-file'],
];
let folder: string;
let port: number;
let dataDir: string;
let backup: string;
/** The secrets that were acknowledged before the backup began. */
let before: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-backup-'));
  [dataDir, backup, port] = [join(folder, 'data'), join(folder, 'backups', 'first'), await freePorts()];
  const installation = start({ dataDir, port });
  const admin = await firstAdmin(await installation.ready());
  await admin.createVault('payments');
  await admin.post('/rotations', { kind: 'kek' }).expect(202);

  const acknowledged: string[] = [];
  const end = new AbortController();
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let count = 0; !end.signal.aborted; count += 1) {
      const name = `w${writer}/${count}`;
      await admin.putSecret('payments', name, name);
      acknowledged.push(name);
    }
  });
  while (acknowledged.length < 10 * WRITERS) await new Promise(setImmediate);
  // Signs what there is.
  await admin.get('/audit/export').expect(200);
  before = [...acknowledged];
  const { code, stderr } = await command('backup', [backup]);
  const during = acknowledged.length - before.length;
  end.abort();
  await Promise.all(writers);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(during).toBeGreaterThan(0);
  await installation.stop();
});
afterAll(async () => {
  await killAll();
  await rm(folder, { recursive: true, force: true });
});

test('a backup has all acknowledged writes of before it, and a log that verifies, lacks none of its changes, and says that it was restored', async () => {
  const restored = join(folder, 'restored');
  const { madeAt, backup: id } = await unpack(join(backup, 'cardea-data.tar'), await mkdtemp(join(folder, 'opened-')));
  const from = new Date().toISOString();
  const { code, stdout } = await command('restore', [backup], restored, { SUDO_USER: 'olivia' });
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/^The audit log has \d+ entries/) });
  const installation = start({ dataDir: restored, port });
  const url = await installation.ready();
  const admin = await Person.signIn(url, 'admin', PASSWORD);
  for (const name of before) expect(await admin.readSecret('payments', name)).toBe(name);

  // The first entry after those of the backup.
  const [restore, ...others] = await all<Entry>(admin, '/audit/entries', 'audit.restore');
  expect(others).toEqual([]);
  expect(restore).toMatchObject({
    seq: restore!.event.changes['size']!.to,
    peer: 'audit-service',
    event: {
      actor: { type: 'service', id: 'operator' },
      decision: 'allow',
      rule: 'restored',
      changes: {
        backup: { to: id },
        madeAt: { to: madeAt },
        by: { to: `${userInfo().username} (sudo by olivia)` },
        checkpoint: { to: await readFile(join(backup, 'checkpoint'), 'utf8') },
      },
    },
  });
  expect(restore!.event.ts > from).toBe(true);

  const stored = await all<{ name: string }>(admin, '/vaults/payments/secrets');
  // What was in the outbox follows.
  await expectEventually(async () => {
    const recorded = await all<{ event: { resource: { name: string } } }>(admin, '/audit/entries', 'secret.write');
    const writes = new Set(recorded.map(({ event }) => event.resource.name));
    expect(stored.filter(({ name }) => !writes.has(name))).toEqual([]);
  });

  const { body } = await admin
    .get('/audit/export')
    .buffer(true)
    .parse((answer, done) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => done(null, Buffer.concat(chunks)));
    });
  await writeFile(join(folder, 'audit.tar'), body as Buffer);
  const vkey = (await readFile(join(dataDir, 'audit', 'verifier-key'), 'utf8')).trim();
  const verify = (checkpoint: string) =>
    run([
      'services/audit-service/src/verifier.mjs',
      '--key',
      vkey,
      '--checkpoint',
      checkpoint,
      join(folder, 'audit.tar'),
    ]);
  const { code: verified, stdout: found } = await verify(join(backup, 'checkpoint'));
  expect([verified, found]).toEqual([
    0,
    expect.stringMatching(/^restored +entry \d+: a backup of "[^]*\nOK: \d+ entries/m),
  ]);
  // Who kept a newer checkpoint sees what is lost, and why.
  const { note } = JSON.parse(await readFile(join(dataDir, 'audit', 'last-signed.json'), 'utf8')) as { note: string };
  await writeFile(join(folder, 'newer'), note);
  expect([13, 14]).toContain((await verify(join(folder, 'newer'))).code);
  await installation.stop();
});

test('a restore refuses a folder in which Cardea or another restore runs', async () => {
  const target = await mkdtemp(join(folder, 'in-use-'));
  await writeFile(join(target, 'cardea.pid'), `${process.pid} unknown\n`);
  expect(await command('restore', [backup], target)).toMatchObject({
    code: 78,
    stderr: `A running Cardea or another restore uses ${target} (process ${process.pid}): stop it, or let it end.\n`,
  });
  expect(await readdir(target)).toEqual(['cardea.pid']);
});

test('only its owner can read a backup; one archive has all keys, and neither has passwords or certificates', async () => {
  expect((await stat(backup)).mode & 0o777).toBe(0o700);
  const files = await readdir(backup);
  expect(files.toSorted()).toEqual(['cardea-data.tar', 'cardea-keys.tar', 'checkpoint']);
  for (const file of files) expect((await stat(join(backup, file))).mode & 0o777).toBe(0o600);

  const [data, keys] = [await contentOf('cardea-data.tar'), await contentOf('cardea-keys.tar')];
  expect(data.toSorted()).toEqual(['api/cardea.db', 'audit/audit.db', 'audit/last-signed.json', 'manifest.json']);
  expect(keys.toSorted()).toEqual(
    ['audit/signing-key', 'kek/generation.json', 'kek/keyring.json', 'kek/seal-key', 'manifest.json'].toSorted(),
  );
  const seed = await readFile(join(dataDir, 'audit', 'signing-key'));
  expect((await readFile(join(backup, 'cardea-data.tar'))).includes(seed)).toBe(false);
});

test('nothing is overwritten', async () => {
  const again = await command('backup', [backup]);
  expect(again).toMatchObject({ code: 78, stderr: expect.stringContaining('exists: name a folder that does not') });
  const used = await command('restore', [backup], dataDir);
  expect(used).toMatchObject({ code: 78, stderr: expect.stringContaining('is not empty (') });
});

test.each(['INT', 'TERM'])('a backup that SIG%s ends leaves nothing, and touches no other backup', async (signal) => {
  const [programs, parent] = [await mkdtemp(join(folder, 'programs-')), await mkdtemp(join(folder, 'ended-'))];
  // Data and keys are in the folder when tar is called. This one waits until the backup has ended.
  const tar = `#!/bin/sh\nkill -s ${signal} $PPID\nwhile kill -s 0 $PPID; do sleep 0.1; done\n`;
  await writeFile(join(programs, 'tar'), tar, { mode: 0o700 });
  await mkdir(join(parent, 'first.unfinished'));
  const PATH = `${programs}:${process.env['PATH']}`;
  const ended = await command('backup', [join(parent, 'first')], dataDir, { PATH });
  expect(ended).toMatchObject({ code: 128 + constants.signals[`SIG${signal}` as 'SIGINT'], stdout: '' });
  expect(await readdir(parent)).toEqual(['first.unfinished']);
});

test('a restore that ended with a part in its place lets nothing start, and says what to do', async () => {
  // Without the last folder, which cannot be moved to its place then.
  const source = await changedBackup((data) => rm(join(data, 'api'), { recursive: true }));
  const target = join(source, 'target');
  expect((await command('restore', [source], target)).code).not.toBe(0);
  expect((await readdir(target)).toSorted()).toEqual(['.restoring', 'audit', 'kek']);

  const why = 'is under way or was interrupted: let it end, or empty the folder and run pnpm restore again';
  const installation = start({ dataDir: target, port });
  expect(await installation.ended()).toBe(78);
  expect(installation.output()).toContain(why);
  for (const [main, ...words] of WRITERS_OF_DATA) {
    const args = [main!, ...words.map((word) => (word === 'BACKUP' ? backup : word))];
    expect(await run(args, target)).toMatchObject({ code: 78, stdout: '', stderr: expect.stringContaining(why) });
  }
  expect((await readdir(target)).toSorted()).toEqual(['.restoring', 'audit', 'kek']);
});

test.each<[string, (data: string) => Promise<void> | void, RegExp]>([
  ['was cut off', () => {}, /tar has failed/],
  [
    'has another entry in its log',
    (data) => edit(data, 'update audit_entry set leaf = zeroblob(32) where seq = 3'),
    /entry 3: leaf differ/,
  ],
  [
    'has lost the end of its log',
    (data) => edit(data, 'update audit_head set size = 3'),
    /\d+ entries were signed, and it has 3/,
  ],
])('a backup that %s is refused, and leaves nothing', async (what, change, why) => {
  const source = await changedBackup(change);
  const archive = await readFile(join(source, 'cardea-data.tar'));
  if (what === 'was cut off') await writeFile(join(source, 'cardea-data.tar'), archive.subarray(0, -20_000));

  const target = join(source, 'target');
  expect(await command('restore', [source], target)).toMatchObject({ code: 78, stderr: expect.stringMatching(why) });
  expect(await readdir(target)).toEqual([]);
});

/** The backup with other data in its first archive. Returns its folder. */
async function changedBackup(change: (data: string) => Promise<void> | void): Promise<string> {
  const source = await mkdtemp(join(folder, 'changed-'));
  const data = join(source, 'data');
  await mkdir(data);
  const { madeAt, ...id } = await unpack(join(backup, 'cardea-data.tar'), data);
  await rm(join(data, 'manifest.json'));
  await change(data);
  await pack(data, join(source, 'cardea-data.tar'), { ...newBackupId(new Date(madeAt)), ...id });
  await cp(join(backup, 'cardea-keys.tar'), join(source, 'cardea-keys.tar'));
  return source;
}

async function edit(data: string, sql: string): Promise<void> {
  const db = openSqlite(join(data, 'audit', 'audit.db'));
  const triggers = await db.query<{ name: string }>("select name from sqlite_schema where type = 'trigger'");
  for (const { name } of triggers) await db.query(`drop trigger ${name}`);
  await db.query(sql);
  await db.close();
}

/** Signs in with the first password and sets another one: what a backup leaves out is not needed. */
async function firstAdmin(url: string): Promise<Person> {
  const first = (await readFile(join(dataDir, 'initial-admin-password'), 'utf8')).trim();
  const admin = await Person.signIn(url, 'admin', first);
  await admin.post('/auth/password', { currentPassword: first, newPassword: PASSWORD }).expect(204);
  return await Person.signIn(url, 'admin', PASSWORD);
}

async function all<Item>(admin: Person, path: string, action?: string): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: '500', ...(action ? { action } : {}), ...(cursor ? { cursor } : {}) };
    const { body } = await admin.get(`${path}?${new URLSearchParams(query).toString()}`).expect(200);
    items.push(...(body.items as Item[]));
    cursor = body.nextCursor as string | undefined;
  } while (cursor !== undefined);
  return items;
}

async function contentOf(archive: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('tar', ['-tf', join(backup, archive)]);
  return stdout.trim().split('\n');
}

function script(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

/** Runs `pnpm backup` or `pnpm restore`. */
function command(name: 'backup' | 'restore', words: string[], target = dataDir, more: NodeJS.ProcessEnv = {}) {
  return run([`deploy/backup/${name}-main.ts`, ...words], target, more);
}

async function run([main, ...words]: string[], CARDEA_DATA_DIR = dataDir, more: NodeJS.ProcessEnv = {}) {
  const args = ['--disable-warning=ExperimentalWarning', script(main!), ...words];
  try {
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const env = { PATH, NODE_COMPILE_CACHE, CARDEA_DATA_DIR, ...more };
    return { code: 0, ...(await promisify(execFile)(process.execPath, args, { env })) };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}
