import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DbUnavailable, QueueFull } from '../src/db.ts';
import type { Db } from '../src/db.ts';
import { checkDurability } from '../src/durability.ts';
import { openSqlite } from '../src/sqlite.ts';
import { sqliteFile } from './databases.ts';
import type { SqliteTestDatabase } from './databases.ts';
import { describeDb } from './db-conformance.ts';

describeDb('SQLite', sqliteFile);

describe('a SQLite file', () => {
  let file: SqliteTestDatabase;
  let db: Db;

  beforeEach(async () => {
    file = await sqliteFile();
    db = file.open();
    await db.query('create table t (a integer) strict');
  });

  afterEach(async () => {
    await db.close();
    await file.remove();
  });

  test('is durable, and its pages are overwritten when rows are deleted', async () => {
    await checkDurability(db);
    expect(await db.transaction((tx) => tx.query('pragma secure_delete'))).toEqual([{ secure_delete: 1 }]);
  });

  test('fails the durability check if the connection that writes does not sync at all', async () => {
    await db.query('pragma synchronous = off');
    await expect(checkDurability(db)).rejects.toThrow('pragma synchronous is 0');
  });

  test('and its WAL can be read by the owner only', () => {
    expect(statSync(file.path).mode & 0o777).toBe(0o600);
    expect(statSync(`${file.path}-wal`).mode & 0o777).toBe(0o600);
  });

  test('lets others in during a long transaction', async () => {
    const seen = { turns: 0 };
    const countTurn = () => {
      seen.turns += 1;
      if (seen.turns < 3) setImmediate(countTurn);
    };
    setImmediate(countTurn);
    // Ends long before its last statement.
    await db.transaction(async (tx) => {
      for (let n = 0; n < 1_000_000 && seen.turns < 3; n += 1) await tx.query('insert into t values ($1)', [n]);
    });
    expect(seen.turns).toBe(3);
  });

  test('refuses a write that would wait behind too many others, or has waited too long', async () => {
    const small = openSqlite(file.path, { writesWaitingMax: 2, writeWaitMs: 1 });
    const held = Promise.withResolvers<void>();
    const first = small.transaction(async (tx) => {
      await tx.query('insert into t values (1)');
      await held.promise;
    });
    const late = [2, 3, 4].map((n) => small.query('insert into t values ($1)', [n]));
    for (const { status, reason } of (await Promise.allSettled(late)) as PromiseRejectedResult[]) {
      expect([status, reason]).toEqual(['rejected', new QueueFull('too many writes wait for SQLite', false)]);
    }
    held.resolve();
    await first;
    await small.query('insert into t values (5)');
    expect(await small.query('select a from t order by a')).toEqual([{ a: 1 }, { a: 5 }]);
    await small.close();
  });

  test('lets callers have turns one after the other, and tells one of them that their own writes wait', async () => {
    const small = openSqlite(file.path, { writesWaitingMax: 8 });
    const order: number[] = [];
    const write = (n: number, by: string) =>
      small.transaction(
        async (tx) => {
          order.push(n);
          await tx.query('insert into t values ($1)', [n]);
        },
        { by },
      );
    const writes = [1, 2, 3].map((n) => write(n, 'mallory'));
    await expect(write(4, 'mallory')).rejects.toEqual(new QueueFull('too many writes wait for SQLite', true));
    await Promise.all([...writes, write(5, 'alice')]);
    expect(order).toEqual([1, 5, 2, 3]);
    await small.close();
  });

  test('remembers rows only until the next commit, of this connection or of another process', async () => {
    const count = async () => (await db.query<{ n: number }>('select count(*) as n from t where a > $1', [0]))[0]?.n;
    expect(await count()).toBe(0);
    await db.query('insert into t values (1)');
    expect(await count()).toBe(1);
    await db.transaction(async (tx) => {
      await tx.query('insert into t values (2)');
      await tx.query('insert into t values (3)');
    });
    expect(await count()).toBe(3);

    const script = `new (require('better-sqlite3'))(process.argv[1]).exec('insert into t values (4)')`;
    const { status } = spawnSync(process.execPath, ['-e', script, file.path], { cwd: import.meta.dirname });
    expect(status).toBe(0);
    // In a later turn of the event loop, like the answer of another process over a socket.
    await new Promise((resolve) => setImmediate(resolve));
    expect(await count()).toBe(4);
  });

  test('returns frozen rows, so that one caller cannot change the rows of the next', async () => {
    await db.query('insert into t values (1)');
    const [row] = await db.query<{ a: number }>('select a from t where a = $1', [1]);
    expect(() => {
      row!.a = 2;
    }).toThrow(TypeError);
    expect(await db.query('select a from t where a = $1', [1])).toEqual([{ a: 1 }]);
  });

  test('keeps the commits of a process that was killed in its next transaction', async () => {
    const script = `
      import { openSqlite } from ${JSON.stringify(new URL('../src/sqlite.ts', import.meta.url).href)};
      const db = openSqlite(process.argv[1]);
      await db.transaction((tx) => tx.query('insert into t (a) values (1)'));
      await db.transaction(async (tx) => {
        await tx.query('insert into t (a) values (2)');
        process.kill(process.pid, 'SIGKILL');
        await new Promise(() => {});
      });`;
    const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script, file.path]);
    expect([signal, String(stderr)]).toEqual(['SIGKILL', '']);
    expect(await db.query('select a from t')).toEqual([{ a: 1 }]);
  });

  test('is unavailable if another process writes for too long, and does not block the event loop', async () => {
    const other = openSqlite(file.path, { lockWaitMs: 50 });
    try {
      await db.transaction(async (tx) => {
        await tx.query('insert into t (a) values (1)');
        await expect(other.query('insert into t (a) values (2)')).rejects.toBeInstanceOf(DbUnavailable);
        await expect(other.transaction((tx) => tx.query('select a from t'))).rejects.toBeInstanceOf(DbUnavailable);
      });
      await other.query('insert into t (a) values (3)');
    } finally {
      await other.close();
    }
    expect(await db.query('select a from t order by a')).toEqual([{ a: 1 }, { a: 3 }]);
  });

  test('that is full is unavailable, and works again once there is room', async () => {
    await db.query('create table big (body blob) strict');
    const [row] = await db.query<{ page_count: number }>('pragma page_count');
    // In a transaction, because the limit is a setting of the connection that writes.
    await db.transaction((tx) => tx.query(`pragma max_page_count = ${row?.page_count}`));
    const fill = db.transaction((tx) => tx.query('insert into big (body) values (zeroblob(1000000))'));
    await expect(fill).rejects.toBeInstanceOf(DbUnavailable);
    await db.transaction((tx) => tx.query('pragma max_page_count = 100000'));
    await db.transaction((tx) => tx.query('insert into big (body) values (zeroblob(1000000))'));
  });

  test('refuses to begin a transaction by a statement', async () => {
    await expect(db.query('begin')).rejects.toThrow('use Db.transaction to begin');
    await db.transaction((tx) => tx.query('insert into t (a) values (1)'));
  });

  test('works with more different statements than it remembers', async () => {
    for (let i = 0; i < 600; i += 1) expect(await db.query(`select ${i} as i`)).toEqual([{ i }]);
    expect(await db.query('select 0 as i')).toEqual([{ i: 0 }]);
  });
});

test('a database in memory reads back what was written', async () => {
  const db = openSqlite(':memory:');
  await db.query('create table t (a integer) strict');
  await db.transaction((tx) => tx.query('insert into t (a) values ($1)', [1]));
  expect(await db.query('select a from t')).toEqual([{ a: 1 }]);
  await db.close();
});
