import { copyFileSync, existsSync, fdatasyncSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CommitError } from '../src/db.ts';
import type { Db, OnCommitError } from '../src/db.ts';
import { openSqlite } from '../src/sqlite.ts';
import { sqliteFile } from './databases.ts';
import type { SqliteTestDatabase } from './databases.ts';

/** A disk whose syncs end when the test lets them. */
class Disk {
  syncs: { finish(): void; fail(error: Error): void }[] = [];
  begun = 0;
  readonly syncFile = (): Promise<void> => {
    this.begun += 1;
    return new Promise((resolve, reject) => {
      this.syncs.push({ finish: resolve, fail: reject });
    });
  };

  async next(): Promise<{ finish(): void; fail(error: Error): void }> {
    while (this.syncs.length === 0) await turn();
    return this.syncs.shift()!;
  }

  /** Finishes every sync as long as `until` is pending. */
  async flow(until: Promise<unknown>): Promise<void> {
    const timer = setInterval(() => {
      for (const sync of this.syncs.splice(0)) sync.finish();
    });
    await until.finally(() => clearInterval(timer));
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** The state of a promise after some turns of the event loop, in which it could have settled. */
async function stateOf(promise: Promise<unknown>): Promise<'pending' | 'resolved' | 'rejected'> {
  let state: 'pending' | 'resolved' | 'rejected' = 'pending';
  promise.then(
    () => (state = 'resolved'),
    () => (state = 'rejected'),
  );
  for (let i = 0; i < 20; i += 1) await turn();
  return state;
}

describe('a commit on SQLite', () => {
  let file: SqliteTestDatabase;
  let disk: Disk;
  let db: Db;
  let commitErrors: CommitError[];
  const insert = (a: number) => db.transaction((tx) => tx.query('insert into t (a) values ($1)', [a]));
  // A read with bytes as a parameter is never answered from memory.
  const countOnDisk = async () =>
    (await db.query<{ n: number }>('select count(*) as n, $1 as ignored from t', [new Uint8Array(1)]))[0]!.n;
  const count = async () => (await db.query<{ n: number }>('select count(*) as n from t'))[0]!.n;

  beforeEach(async () => {
    file = await sqliteFile();
    disk = new Disk();
    commitErrors = [];
    const onCommitError: OnCommitError = (error) => {
      commitErrors.push(error);
      throw error;
    };
    db = openSqlite(file.path, { syncFile: disk.syncFile, onCommitError });
    await disk.flow(db.query('create table t (a integer primary key) strict'));
  });

  afterEach(async () => {
    await disk.flow(db.close());
    await file.remove();
  });

  test('is acknowledged when the WAL is on disk, and not before', async () => {
    const inserted = insert(1);
    const sync = await disk.next();
    expect(await stateOf(inserted)).toBe('pending');
    sync.finish();
    await inserted;

    const alone = db.query('insert into t (a) values (2)');
    const second = await disk.next();
    expect(await stateOf(alone)).toBe('pending');
    second.finish();
    await alone;
    expect(await count()).toBe(2);
  });

  test('is not shown to any caller while a power cut can undo it', async () => {
    const inserted = insert(1);
    const sync = await disk.next();
    const seen = count();
    const conflict = insert(1).catch((error: unknown) => error);
    expect([await stateOf(seen), await stateOf(conflict)]).toEqual(['pending', 'pending']);
    sync.finish();
    expect([await seen, await inserted]).toEqual([1, []]);
    expect(await conflict).toMatchObject({ name: 'UniqueViolation' });
  });

  test('is not shown between the commit and the start of its sync', async () => {
    const seen: Promise<number>[] = [];
    // One read in each microtask, so that some run right after the commit, before anything that waits for it.
    const inserted = insert(1);
    for (let i = 0; i < 200; i += 1) {
      seen.push(countOnDisk());
      await Promise.resolve();
    }
    const sync = await disk.next();
    const early = await Promise.all(
      seen.map(async (promise) => ((await stateOf(promise)) === 'resolved' ? promise : 0)),
    );
    expect(early.filter((n) => n > 0)).toEqual([]);
    sync.finish();
    await inserted;
    expect((await Promise.all(seen)).at(-1)).toBe(1);
  });

  test('that fails because of another commit fails only once the other commit is on disk', async () => {
    const inserted = insert(1);
    const sync = await disk.next();
    const conflict = db.query('insert into t (a) values (1)').catch((error: unknown) => error);
    expect(await stateOf(conflict)).toBe('pending');
    sync.finish();
    await inserted;
    expect(await conflict).toMatchObject({ name: 'UniqueViolation' });
  });

  test('is made while an older sync runs, and shares the next sync with all commits made in that time', async () => {
    const first = insert(1);
    const sync = await disk.next();
    const others = Array.from({ length: 20 }, (_, i) => insert(i + 2));
    expect(await stateOf(Promise.any(others))).toBe('pending');
    sync.finish();
    await first;
    const second = await disk.next();
    expect(await stateOf(Promise.any(others))).toBe('pending');
    second.finish();
    await Promise.all(others);
    expect(await count()).toBe(21);
    // One sync for the table, and these two.
    expect(disk.begun).toBe(3);
  });

  test('that could not be synced makes every later write and read fail', async () => {
    const writers = [insert(1), insert(2)];
    const sync = await disk.next();
    const waiting = [...writers, count()].map((promise) => promise.catch((error: unknown) => error));
    sync.fail(new Error('EIO'));
    for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(CommitError);
    await expect(count()).rejects.toBeInstanceOf(CommitError);
    await expect(insert(3)).rejects.toBeInstanceOf(CommitError);
    expect(disk.begun).toBe(2);
  });

  test.each<[string, () => Promise<unknown>]>([
    ['a transaction', () => insert(2)],
    ['a statement by itself', () => db.query('insert into t (a) values (2)')],
    ['a read', () => count()],
    ['a transaction that fails by itself', () => insert(1)],
    ['a statement that fails by itself', () => db.query('insert into t (a) values (1)')],
  ])('that could not be synced calls onCommitError for everything that waits for it: %s', async (_who, wait) => {
    const writer = insert(1).catch((error: unknown) => error);
    const sync = await disk.next();
    commitErrors = [];
    const waiting = wait().catch((error: unknown) => error);
    await turn();
    sync.fail(new Error('EIO'));

    const errors = [await writer, await waiting];
    expect(errors).toEqual([expect.any(CommitError), expect.any(CommitError)]);
    expect(commitErrors).toEqual(expect.arrayContaining(errors));
    expect(commitErrors).toHaveLength(2);
  });
});

test('every acknowledged commit is in the files as they were at their last sync', async () => {
  const file = await sqliteFile();
  const folder = join(dirname(file.path), 'after-the-power-cut');
  mkdirSync(folder);
  const acknowledged = new Set<number>();
  let known: number[] = [];
  const db = openSqlite(file.path, {
    // A sync makes durable what is in the files when it begins.
    syncFile: async (fd) => {
      known = [...acknowledged];
      fdatasyncSync(fd);
      copyFileSync(file.path, join(folder, 'copy.db'));
      if (existsSync(`${file.path}-wal`)) copyFileSync(`${file.path}-wal`, join(folder, 'copy.db-wal'));
    },
  });
  await db.query('create table t (a integer primary key, body blob) strict');
  // Writes several times the size at which SQLite moves the WAL into the file.
  for (let round = 0; round < 60; round += 1) {
    const numbers = Array.from({ length: 8 }, (_, i) => round * 8 + i);
    await Promise.all(
      numbers.map(async (a) => {
        await db.transaction((tx) => tx.query('insert into t (a, body) values ($1, zeroblob(30000))', [a]));
        acknowledged.add(a);
      }),
    );
  }
  const copy = openSqlite(join(folder, 'copy.db'));
  const rows = new Set((await copy.query<{ a: number }>('select a from t')).map(({ a }) => a));
  expect(known.length).toBeGreaterThan(400);
  expect([...acknowledged].filter((a) => !rows.has(a))).toEqual([]);
  await copy.close();
  await db.close();
  await file.remove();
});
