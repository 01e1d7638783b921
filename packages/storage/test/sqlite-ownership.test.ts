import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DbUnavailable } from '../src/db.ts';
import type { CommitError } from '../src/db.ts';
import { openDatabase } from '../src/open.ts';
import { ownSqliteFile } from '../src/sqlite-ownership.ts';
import { openSqlite } from '../src/sqlite.ts';
import { sqliteFile } from './databases.ts';
import type { SqliteTestDatabase } from './databases.ts';

const source = new URL('../src/sqlite-ownership.ts', import.meta.url).href;
let file: SqliteTestDatabase;
let other: ChildProcess | undefined;

beforeEach(async () => {
  file = await sqliteFile();
});

afterEach(async () => {
  if (other && other.exitCode === null && other.signalCode === null) {
    const ended = once(other, 'exit');
    other.kill('SIGKILL');
    await ended;
  }
  await file.remove();
});

/** Starts a process that owns the file, reports it, and ends when it gets a message. */
async function owner(): Promise<ChildProcess> {
  const program = `import { ownSqliteFile } from '${source}';
    await ownSqliteFile('${file.path}');
    process.on('message', () => process.exit(0));
    process.send('owns it');`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  other = spawn(process.execPath, flags, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  await once(other, 'message');
  return other;
}

describe('a SQLite file that another process owns', () => {
  test('is refused with a message that says what to do', async () => {
    await owner();
    const refused = ownSqliteFile(file.path, 0);
    await expect(refused).rejects.toThrow(`${file.path} is in use by another process: stop that process first`);
    await expect(ownSqliteFile(file.path, 0)).rejects.toThrow(DbUnavailable);
  });

  test('can be owned as soon as that process ends', async () => {
    const previous = await owner();
    const ended = once(previous, 'exit');
    await expect(ownSqliteFile(file.path, 0)).rejects.toThrow(DbUnavailable);
    // The lock is free a moment before this process hears that the other one has ended.
    const owned = ownSqliteFile(file.path, 60_000);
    previous.send('end');
    await owned;
    await ended;
    await expect(otherProcessCanOwn()).resolves.toBe(false);
  });

  test('can be owned once that process was killed', async () => {
    const previous = await owner();
    previous.kill('SIGKILL');
    await once(previous, 'exit');
    await ownSqliteFile(file.path, 0);
    await expect(otherProcessCanOwn()).resolves.toBe(false);
  });
});

test('the owner of a SQLite file may open it several times, and only its user can read the lock file', async () => {
  await ownSqliteFile(file.path, 0);
  await ownSqliteFile(file.path, 0);
  const databases = [openSqlite(file.path), openSqlite(file.path)];
  await Promise.all(databases.map((db) => db.ping()));
  await Promise.all(databases.map((db) => db.close()));
  expect(statSync(`${file.path}-lock`).mode & 0o777).toBe(0o600);
});

test('a SQLite file is free once each holder has released it, and a holder releases it only once', async () => {
  const release = await ownSqliteFile(file.path, 0);
  const releaseSecond = await ownSqliteFile(file.path, 0);
  release();
  release();
  await expect(otherProcessCanOwn()).resolves.toBe(false);
  releaseSecond();
  await expect(otherProcessCanOwn()).resolves.toBe(true);
});

test('another process can open a database that was closed or could not be opened', async () => {
  const folder = pathToFileURL(`${dirname(file.path)}/`);
  const options = { target: file.path, migrations: folder, onCommitError: rethrow };
  const db = await openDatabase(options);
  await expect(otherProcessCanOwn()).resolves.toBe(false);
  await db.close();
  await expect(otherProcessCanOwn()).resolves.toBe(true);

  const missing = new URL('missing-migrations/', folder);
  await expect(openDatabase({ ...options, migrations: missing })).rejects.toThrow('ENOENT');
  await expect(otherProcessCanOwn()).resolves.toBe(true);
});

test('the owner of a SQLite file owns it under each of its paths', async () => {
  const folder = dirname(file.path);
  mkdirSync(join(folder, 'inside'));
  symlinkSync(folder, join(folder, 'link'));
  await ownSqliteFile(file.path, 0);
  for (const path of [relative('.', file.path), `${folder}/inside/../test.db`, join(folder, 'link', 'test.db')]) {
    await ownSqliteFile(path, 0);
  }
});

/** Starts another process that tries to own the file. Returns true if it succeeds. */
async function otherProcessCanOwn(): Promise<boolean> {
  const program = `import { ownSqliteFile } from '${source}';
    await ownSqliteFile('${file.path}', 0).catch(() => process.exit(1));`;
  const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program];
  const [code] = (await once(spawn(process.execPath, flags, { stdio: 'ignore' }), 'exit')) as [number];
  return code === 0;
}

function rethrow(error: CommitError): never {
  throw error;
}
