import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { UniqueViolation } from '../src/db.ts';
import type { Db, SqlValue, Transaction } from '../src/db.ts';
import { migrate } from '../src/migrate.ts';

export interface TestDatabase {
  /** Opens a `Db` on the same database, as another process would. */
  open(): Db;
  remove(): Promise<void>;
}

const schema = {
  name: '0001-conformance',
  sql: `
    create table counter (name text not null primary key, value bigint not null);
    create table sample (
      id bigint not null primary key,
      label text,
      body bytea,
      ratio real,
      unique (label)
    );
    create table child (sample_id bigint not null references sample (id));
  `,
};

/** Tests what every adapter of `Db` promises. `create` makes an empty database. */
export function describeDb(name: string, create: () => Promise<TestDatabase>): void {
  describe(name, () => {
    let database: TestDatabase;
    let db: Db;

    beforeEach(async () => {
      database = await create();
      db = database.open();
      await migrate(db, [schema]);
      await db.query('insert into counter (name, value) values ($1, $2)', ['c', 0]);
    });

    afterEach(async () => {
      await db.close();
      await database.remove();
    });

    const counter = async (from: Pick<Db, 'query'> = db): Promise<number | undefined> => {
      const [row] = await from.query<{ value: number }>('select value from counter where name = $1', ['c']);
      return row?.value;
    };

    test('values are read as they were written', async () => {
      const bytes = Uint8Array.from([0, 1, 254, 255]);
      await db.query('insert into sample (id, label, body, ratio) values ($1, $2, $3, $4)', [
        Number.MAX_SAFE_INTEGER,
        "it's $1 and Ω",
        bytes.subarray(1),
        0.5,
      ]);
      const [row] = await db.query<{ id: number; label: string; body: Uint8Array; ratio: number }>(
        'select id, label, body, ratio from sample',
      );
      expect(row).toMatchObject({ id: Number.MAX_SAFE_INTEGER, label: "it's $1 and Ω", ratio: 0.5 });
      expect(row?.body).toBeInstanceOf(Uint8Array);
      expect([...(row?.body ?? [])]).toEqual([1, 254, 255]);
    });

    test('null, bigint and boolean are stored, and truth values are read as 0 or 1', async () => {
      await db.query('insert into sample (id, label) values ($1, $2)', [7n, null]);
      await db.query('insert into sample (id, label) values ($1, $2)', [true, 'x']);
      const rows = await db.query('select id, label, label is null as missing from sample order by id');
      expect(rows).toEqual([
        { id: 1, label: 'x', missing: 0 },
        { id: 7, label: null, missing: 1 },
      ]);
    });

    test('sums and counts are numbers, and a division of integers returns an integer', async () => {
      const [row] = await db.query(
        'select count(*) as n, sum(value) as total, cast($1 as bigint) / 2 as half from counter',
        [7],
      );
      expect(row).toEqual({ n: 1, total: 0, half: 3 });
    });

    test('a parameter may occur twice, and parameters may occur in any order', async () => {
      const [row] = await db.query('select cast($2 as text) as b, cast($1 as text) as a, cast($2 as text) as c', [
        '1',
        '2',
      ]);
      expect(row).toEqual({ b: '2', a: '1', c: '2' });
    });

    test.each([
      ['a Date', new Date(0)],
      ['an object', {}],
      ['undefined', undefined],
      ['NaN', Number.NaN],
    ])('%s is refused as a parameter', async (_, value) => {
      const attempt = db.query('insert into sample (id, label) values (1, $1)', [value as unknown as SqlValue]);
      await expect(attempt).rejects.toMatchObject({ message: expect.stringMatching(/^cannot bind/) });
      expect(await db.query('select id from sample')).toEqual([]);
    });

    test('a wrong number of parameters is an error', async () => {
      await expect(db.query('select value from counter where name = $1', [])).rejects.toThrow();
      await expect(db.query('select value from counter where name = $1', ['c', 'd'])).rejects.toThrow();
    });

    test('a mutation returns the rows it changed', async () => {
      const sql = 'update counter set value = value + 1 where name = $1 returning value';
      expect(await db.query(sql, ['c'])).toEqual([{ value: 1 }]);
      expect(await db.query(sql, ['nobody'])).toEqual([]);
    });

    test('a duplicate of a primary or a unique key is a UniqueViolation', async () => {
      await db.query('insert into sample (id, label) values (1, $1)', ['taken']);
      const samePrimary = db.query('insert into sample (id) values (1)');
      const sameLabel = db.query('insert into sample (id, label) values (2, $1)', ['taken']);
      await expect(samePrimary).rejects.toBeInstanceOf(UniqueViolation);
      await expect(sameLabel).rejects.toMatchObject({ constraintHint: expect.stringContaining('label') });
      await expect(sameLabel).rejects.toHaveProperty('cause.code');
      await expect(db.transaction((tx) => tx.query('insert into sample (id) values (1)'))).rejects.toBeInstanceOf(
        UniqueViolation,
      );
    });

    test('a row that refers to a missing row is refused, and the error is not a UniqueViolation', async () => {
      const attempt = db.query('insert into child (sample_id) values (99)');
      await expect(attempt).rejects.toThrow();
      await expect(attempt).rejects.not.toBeInstanceOf(UniqueViolation);
    });

    test('a transaction commits and returns what its work returns', async () => {
      expect(await db.transaction(async (tx) => (await increment(tx), 'done'))).toBe('done');
      expect(await counter()).toBe(1);
    });

    test('a transaction whose work throws changes nothing', async () => {
      const attempt = db.transaction(async (tx) => {
        await increment(tx);
        throw new RangeError('no');
      });
      await expect(attempt).rejects.toThrow(new RangeError('no'));
      expect(await counter()).toBe(0);
    });

    test('after a failed statement nothing commits, even if the work continues', async () => {
      const attempt = db.transaction(async (tx) => {
        await increment(tx);
        await tx.query('insert into counter (name, value) values ($1, 0)', ['c']).catch(() => undefined);
        return 'fine';
      });
      await expect(attempt).rejects.toBeInstanceOf(UniqueViolation);
      expect(await counter()).toBe(0);
    });

    test('a statement that is not awaited is part of the transaction', async () => {
      await db.transaction(async (tx) => {
        void tx.query('update counter set value = 5');
      });
      expect(await counter()).toBe(5);
    });

    test('a statement that is not awaited and fails: its error is thrown, and nothing commits', async () => {
      const attempt = db.transaction(async (tx) => {
        await increment(tx);
        void tx.query('insert into counter (name, value) values ($1, 0)', ['c']);
        return 'fine';
      });
      await expect(attempt).rejects.toBeInstanceOf(UniqueViolation);
      expect(await counter()).toBe(0);
    });

    test("another caller's statement is not lost when an open transaction rolls back", async () => {
      const opened = Promise.withResolvers<void>();
      const goOn = Promise.withResolvers<void>();
      const transaction = db.transaction(async (tx) => {
        await increment(tx);
        opened.resolve();
        await goOn.promise;
        throw new Error('rolled back');
      });
      await opened.promise;
      const other = db.query('insert into counter (name, value) values ($1, $2)', ['other', 1]);
      goOn.resolve();
      await expect(transaction).rejects.toThrow('rolled back');
      await other;
      expect(await db.query('select name, value from counter order by name')).toEqual([
        { name: 'c', value: 0 },
        { name: 'other', value: 1 },
      ]);
    });

    test('a read does not wait for an open transaction and does not see its changes', async () => {
      const seen = await db.transaction(async (tx) => {
        await increment(tx);
        return await outsideTransaction(() => counter());
      });
      expect(seen).toBe(0);
      expect(await counter()).toBe(1);
    });

    // Runs work outside the async context of the transaction, like a request that came before it.
    const outsideTransaction = <T>(work: () => Promise<T>): Promise<T> => {
      const result = Promise.withResolvers<T>();
      requests.push(() => void work().then(result.resolve, result.reject));
      return result.promise;
    };
    const requests: (() => void)[] = [];
    let poll: NodeJS.Timeout;
    beforeEach(() => {
      poll = setInterval(() => requests.splice(0).forEach((request) => request()), 1);
    });
    afterEach(() => clearInterval(poll));

    test('30 concurrent increments are all counted', async () => {
      await Promise.all(Array.from({ length: 30 }, () => db.transaction(readThenWrite)));
      expect(await counter()).toBe(30);
    });

    test('concurrent increments of two processes are all counted', async () => {
      const other = database.open();
      try {
        await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? db : other).transaction(readThenWrite)));
      } finally {
        await other.close();
      }
      expect(await counter()).toBe(20);
    });

    test('30 concurrent increments under one lock are all counted', async () => {
      const locks = { exclusive: ['c'] };
      await Promise.all(Array.from({ length: 30 }, () => db.lockingTransaction(locks, readThenWrite)));
      expect(await counter()).toBe(30);
    });

    test('a lock that is taken on the way is held until the end', async () => {
      await Promise.all(Array.from({ length: 30 }, () => db.lockingTransaction({}, lockThenWrite)));
      expect(await counter()).toBe(30);
    });

    test('a transaction that wants a lock alone waits for those that share it, and they wait for nobody', async () => {
      const other = database.open();
      const order: string[] = [];
      const [shared, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const sharing = db.lockingTransaction({ shared: ['a', 'b'] }, async (tx) => {
        await increment(tx);
        shared.resolve();
        await goOn.promise;
        order.push('shared');
      });
      await shared.promise;
      const alone = other.lockingTransaction({ exclusive: ['b'] }, async (tx) => {
        await increment(tx);
        order.push('alone');
      });
      await new Promise((resolve) => setTimeout(resolve, 50));
      goOn.resolve();
      await Promise.all([sharing, alone]);
      expect(order).toEqual(['shared', 'alone']);
      await other.close();
    });

    test('two transactions that name the same locks in another order do not wait for each other', async () => {
      const pairs = Array.from({ length: 20 }, (_, i) => (i % 2 ? ['a', 'b'] : ['b', 'a']));
      await Promise.all(pairs.map((exclusive) => db.lockingTransaction({ exclusive }, readThenWrite)));
      expect(await counter()).toBe(20);
    });

    const take = (own: string, wanted: string) =>
      db.transaction(
        async (tx) => {
          await readThenWrite(tx);
          await tx.lock(wanted);
        },
        { shared: [own] },
      );

    test('two transactions that each hold what the other wants both end', async () => {
      await Promise.all([take('a', 'b'), take('b', 'a')]);
      expect(await counter()).toBe(2);
    });

    test('a transaction sees what was committed under the lock that it waited for', async () => {
      const [locked, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const holder = db.lockingTransaction({ exclusive: ['a'] }, async (tx) => {
        await increment(tx);
        locked.resolve();
        await goOn.promise;
      });
      await locked.promise;
      const waiter = db.transaction((tx) => counter(tx), { shared: ['a'] });
      await new Promise((resolve) => setTimeout(resolve, 50));
      goOn.resolve();
      await holder;
      expect(await waiter).toBe(1);
    });

    test('equal reads at the same time have the same rows, which cannot be changed', async () => {
      const read = () => db.query<{ value: number }>('select value from counter where name = $1', ['c']);
      const [one, ...others] = await Promise.all(Array.from({ length: 50 }, read));
      for (const rows of others) expect(rows).toEqual(one);
      expect(() => (one![0]!.value = 5)).toThrow(TypeError);
      await db.transaction(increment);
      expect(await read()).toEqual([{ value: 1 }]);
    });

    test('a read that begins after a commit sees it, whatever else is read at the time', async () => {
      for (let n = 1; n <= 20; n += 1) {
        const beside = Array.from({ length: 10 }, () => counter());
        await db.transaction(increment);
        expect(await counter()).toBe(n);
        await Promise.all(beside);
      }
    });

    test('using the db inside its own transaction is an error, not a deadlock', async () => {
      await db.transaction(async (tx) => {
        await increment(tx);
        await expect(db.query('select value from counter')).rejects.toThrow('inside a transaction');
        await expect(db.transaction(increment)).rejects.toThrow('inside a transaction');
      });
      expect(await counter()).toBe(1);
    });

    test('code that a transaction started may use the db once the transaction has ended', async () => {
      const later = Promise.withResolvers<number | undefined>();
      const end = Promise.withResolvers<void>();
      await db.transaction(async (tx) => {
        await increment(tx);
        void end.promise.then(() => counter()).then(later.resolve, later.reject);
      });
      end.resolve();
      expect(await later.promise).toBe(1);
    });

    test('a transaction is not usable after its end', async () => {
      let kept: Transaction | undefined;
      await db.transaction(async (tx) => void (kept = tx));
      await expect(kept?.query('select value from counter')).rejects.toThrow('this transaction has ended');
    });

    test('a commit is still there when the database is opened again', async () => {
      await db.transaction(increment);
      await db.close();
      db = database.open();
      expect(await counter()).toBe(1);
    });

    test('a ping resolves until the db is closed, and a second close does nothing', async () => {
      await db.ping();
      await Promise.all([db.close(), db.close()]);
      await expect(db.ping()).rejects.toThrow();
    });
  });
}

async function lockThenWrite(tx: Transaction): Promise<void> {
  await tx.lock('c');
  await readThenWrite(tx);
}

async function increment(tx: Transaction): Promise<void> {
  await tx.query('update counter set value = value + 1 where name = $1', ['c']);
}

/** Loses updates unless transactions are serializable. */
async function readThenWrite(tx: Transaction): Promise<void> {
  const [row] = await tx.query<{ value: number }>('select value from counter where name = $1', ['c']);
  await tx.query('update counter set value = $1 where name = $2', [(row?.value ?? 0) + 1, 'c']);
}
