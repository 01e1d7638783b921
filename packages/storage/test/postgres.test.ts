import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { CommitError, DbUnavailable, UniqueViolation } from '../src/db.ts';
import type { Db, Transaction } from '../src/db.ts';
import { checkDurability } from '../src/durability.ts';
import { openPostgres } from '../src/postgres.ts';
import { postgresDatabase } from './databases.ts';
import { runSql } from './run-sql.ts';
import type { PostgresTestDatabase } from './databases.ts';
import { describeDb } from './db-conformance.ts';

describeDb('PostgreSQL', postgresDatabase);

describe('a PostgreSQL database', () => {
  let database: PostgresTestDatabase;
  let db: Db;

  beforeEach(async () => {
    database = await postgresDatabase();
    db = database.open();
    await db.query('create table t (a integer not null, unique (a) deferrable initially deferred)');
  });

  afterEach(async () => {
    await db.close();
    await database.remove();
  });

  const terminate = () =>
    runSql(
      database.url,
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );

  test('on a server without fsync fails the durability check', async () => {
    await expect(checkDurability(db)).rejects.toThrow('show fsync is off');
    await checkDurability(db, { allowFsyncOff: true });
  });

  test('makes its sessions wait for the disk, whatever is set for the database', async () => {
    const { url } = database;
    await runSql(url, `alter database "${new URL(url).pathname.slice(1)}" set synchronous_commit = off`);
    const durable = database.open();
    expect(await durable.query('show synchronous_commit')).toEqual([{ synchronous_commit: 'on' }]);
    await checkDurability(durable, { allowFsyncOff: true });
    await durable.close();
  });

  test.each([
    ['off', /show synchronous_commit is off/],
    ['remote_apply', undefined],
  ])('whose URL asks for synchronous_commit=%s is checked', async (value, refusal) => {
    const url = new URL(database.url);
    url.searchParams.set('options', `-c synchronous_commit=${value}`);
    const asked = openPostgres(url.href, { max: 1 });
    const checked = checkDurability(asked, { allowFsyncOff: true });
    if (refusal) await expect(checked).rejects.toThrow(refusal);
    else await checked;
    await asked.close();
  });

  test('without a server is unavailable', async () => {
    const nowhere = openPostgres('postgresql://nobody@127.0.0.1:1/none');
    await expect(nowhere.ping()).rejects.toBeInstanceOf(DbUnavailable);
    await nowhere.close();
  });

  test('answers again after the server has closed idle connections', async () => {
    await db.ping();
    await terminate();
    const outcomes = await Promise.allSettled([db.ping(), db.ping()]);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(DbUnavailable);
    }
    await db.ping();
  });

  test('that closes a connection in the middle of a transaction is unavailable, and nothing is committed', async () => {
    const attempt = db.transaction(async (tx) => {
      await tx.query('insert into t (a) values (1)');
      await terminate();
      await tx.query('insert into t (a) values (2)');
    });
    await expect(attempt).rejects.toBeInstanceOf(DbUnavailable);
    expect(await db.query('select a from t')).toEqual([]);
  });

  test('whose connection breaks before the answer to COMMIT throws a CommitError, because the outcome is unknown', async () => {
    const attempt = db.transaction(async (tx) => {
      await tx.query('insert into t (a) values (1)');
      await terminate();
    });
    await expect(attempt).rejects.toBeInstanceOf(CommitError);
  });

  test('that ends the connection at the last statement, which goes with COMMIT, is unavailable, and nothing is committed', async () => {
    const attempt = db.transaction(async (tx) => {
      await tx.query('insert into t (a) values (1)');
      void tx.query('select pg_terminate_backend(pg_backend_pid())');
    });
    await expect(attempt).rejects.toBeInstanceOf(DbUnavailable);
    expect(await db.query('select a from t')).toEqual([]);
  });

  test('whose commit is unknown calls onCommitError before the caller gets the error', async () => {
    const heard: string[] = [];
    const fatal = openPostgres(database.url, {
      onCommitError: (error) => {
        heard.push('process');
        throw error;
      },
    });
    const attempt = fatal.transaction(async (tx) => {
      await tx.query('insert into t (a) values (1)');
      await terminate();
    });
    await attempt.catch(() => heard.push('caller'));
    await fatal.close();

    expect(heard).toEqual(['process', 'caller']);
  });

  test('opens no more connections than the server of the settings allows', async () => {
    const small = openPostgres({ url: database.url, connections: 2 });
    let most = 0;
    const work = async (n: number) => {
      // Equal reads would share a connection.
      await small.query('select pg_sleep($1 * 0.001) is null', [20 + n]);
      most = Math.max(most, small.connections!().open);
    };
    await Promise.all(Array.from({ length: 8 }, (_, n) => work(n)));
    expect(most).toBe(2);
    await small.close();
  });

  test('answers reads while as many transactions as may run wait for a lock, and refuses one behind too many', async () => {
    const small = openPostgres(database.url, { max: 4, waitingMax: 2 });
    const names = Array.from({ length: 5 }, (_, n) => `lock ${n}`);
    const { held, holding } = await hold(db, { exclusive: names });
    const waiting = names.map((name, n) =>
      small.lockingTransaction({ exclusive: [name] }, (tx) => tx.query('insert into t values ($1)', [n])),
    );
    await expect(small.transaction((tx) => tx.query('select 1'))).rejects.toThrow(DbUnavailable);
    expect(await small.query('select count(*) as n from t')).toEqual([{ n: 0 }]);
    held.resolve();
    await Promise.all([holding, ...waiting]);
    expect(await small.query('select count(*) as n from t')).toEqual([{ n: 5 }]);
    await small.close();
  });

  test('lets others in while changes of one caller wait for a lock, in this process or in another', async () => {
    const small = openPostgres(database.url, { max: 4, waitingMax: 40 });
    for (const [holder, place] of [
      [small, 'this process'],
      [db, 'another process'],
    ] as const) {
      const { held, holding } = await hold(holder, { exclusive: ['one'], by: 'mallory' });
      const waiting = Array.from({ length: 8 }, () =>
        small.lockingTransaction({ shared: ['one'], by: 'mallory' }, (tx) => tx.query('select 1')),
      );
      const others = Array.from({ length: 8 }, () =>
        small.transaction((tx) => tx.query('select 1 as n'), { shared: ['two'], by: 'alice' }),
      );
      const ended = Promise.race([Promise.all(waiting).then(() => 'waited'), Promise.all(others).then(() => 'alice')]);
      expect([place, await ended]).toEqual([place, 'alice']);
      held.resolve();
      await Promise.all([holding, ...waiting]);
    }
    await small.close();
  });

  test('has limits for statements, locks and idle transactions on each connection', async () => {
    const limits = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
    const values = await Promise.all(limits.map((name) => db.query(`select current_setting('${name}') as value`)));
    expect(values.flat()).toEqual([{ value: '10s' }, { value: '5s' }, { value: '30s' }]);
  });

  test('whose lock another transaction holds for too long is unavailable', async () => {
    const other = database.open();
    await db.transaction(async (holder) => {
      await holder.query('lock table t in access exclusive mode');
      const waiting = other.transaction(async (tx) => {
        await tx.query(`set local lock_timeout = '20ms'`);
        await tx.query('select a from t');
      });
      await expect(waiting).rejects.toBeInstanceOf(DbUnavailable);
    });
    await other.close();
  });

  test('whose network swallows everything is given up, and the next statement has a new connection', async () => {
    const network = await openNetwork(database.url);
    const far = openPostgres(network.url, { max: 1, answerWithinMs: 2_000 });
    await far.ping();
    network.swallow();
    await expect(far.query('select a from t')).rejects.toBeInstanceOf(DbUnavailable);
    expect(await far.query('select a from t')).toEqual([]);
    await far.close();
    await network.close();
  });

  test.each<[string, (far: Db, work: (tx: Transaction) => Promise<unknown>) => Promise<unknown>]>([
    ['a transaction', (far, work) => far.transaction(work)],
    ['a transaction with locks', (far, work) => far.transaction(work, { shared: ['a'] })],
    ['a locking transaction', (far, work) => far.lockingTransaction({ shared: ['a'] }, work)],
  ])(
    'whose network swallows everything in %s is waited for once, and not again to roll back or unlock',
    async (_what, run) => {
      const network = await openNetwork(database.url);
      const far = openPostgres(network.url, { max: 1, answerWithinMs: 2_000 });
      const swallow = async (tx: Transaction) => {
        await tx.query('select a from t');
        network.swallow();
      };
      // The answer to one statement is waited for, and no second one is sent.
      await expect(run(far, (tx) => swallow(tx).then(() => tx.query('select 1')))).rejects.toBeInstanceOf(
        DbUnavailable,
      );
      expect(network.swallowed()).toEqual([expect.stringContaining('select 1')]);
      await expect(run(far, swallow)).rejects.toBeInstanceOf(CommitError);
      expect(network.swallowed()).toEqual([expect.stringContaining('select 1'), expect.stringMatching(/commit/i)]);
      expect(await far.query('select a from t')).toEqual([]);
      await far.close();
      await network.close();
    },
  );

  test('that finds a duplicate only at COMMIT throws a UniqueViolation', async () => {
    const attempt = db.transaction((tx) => tx.query('insert into t (a) values (1), (1)'));
    await expect(attempt).rejects.toBeInstanceOf(UniqueViolation);
    expect(await db.query('select a from t')).toEqual([]);
  });

  test('counts its transactions: those that conflict run again', async () => {
    const before = db.outcomes!();
    await db.query('create table tally (n bigint not null)');
    await db.query('insert into tally (n) values (0)');
    const twoHaveRead = Promise.withResolvers<void>();
    let reads = 0;
    const readThenWrite = async (tx: Transaction) => {
      const [row] = await tx.query<{ n: number }>('select n from tally');
      if ((reads += 1) === 2) twoHaveRead.resolve();
      await twoHaveRead.promise;
      await tx.query('update tally set n = $1', [row!.n + 1]);
    };
    await Promise.all(Array.from({ length: 10 }, () => db.transaction(readThenWrite)));
    await expect(db.transaction(() => Promise.reject(new RangeError('no')))).rejects.toThrow(RangeError);
    const after = db.outcomes!();
    expect(after.committed - before.committed).toBe(10);
    expect(after.failed - before.failed).toBe(1);
    expect(after.conflict).toBeGreaterThan(before.conflict);
  });

  test('runs a transaction again if its work replaced the conflict with an error of its own', async () => {
    await db.query('insert into t (a) values (0)');
    const bothHaveRead = Promise.withResolvers<void>();
    let runs = 0;
    const increment = () =>
      db.transaction(async (tx) => {
        const [row] = await tx.query<{ a: number }>('select a from t');
        if ((runs += 1) === 2) bothHaveRead.resolve();
        await bothHaveRead.promise;
        await tx.query('update t set a = $1', [(row?.a ?? 0) + 1]).catch((cause: unknown) => {
          throw new Error('hidden', { cause });
        });
      });
    await Promise.all([increment(), increment()]);
    expect(await db.query('select a from t')).toEqual([{ a: 2 }]);
    expect(runs).toBeGreaterThan(2);
  });
});

/** Begins a transaction that holds locks until `held` is resolved. Resolves once it has them. */
async function hold(db: Db, locks: Parameters<Db['lockingTransaction']>[0]) {
  const [held, isHeld] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const holding = db.lockingTransaction(locks, () => {
    isHeld.resolve();
    return held.promise;
  });
  await isHeld.promise;
  return { held, holding };
}

/** A TCP port in front of the socket of PostgreSQL. */
async function openNetwork(
  url: string,
): Promise<{ url: string; swallow(): void; swallowed(): string[]; close(): Promise<void> }> {
  const target = new URL(url);
  const socket = join(target.searchParams.get('host')!, '.s.PGSQL.5432');
  const pairs: [Socket, Socket][] = [];
  const ends = new Set<Socket>();
  const swallowed: string[] = [];
  const server = createServer((near) => {
    const far = createConnection(socket);
    for (const end of [near, far]) ends.add(end.on('error', () => undefined));
    pairs.push([near, far]);
    near.pipe(far).pipe(near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  target.searchParams.delete('host');
  target.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: target.href,
    /** Lets nothing more pass on the connections that exist, and closes none of them. */
    swallow() {
      for (const [near, far] of pairs.splice(0)) {
        near
          .unpipe(far)
          .on('data', (bytes: Buffer) => swallowed.push(bytes.toString('latin1')))
          .resume();
        far.unpipe(near).resume();
      }
    },
    /** What was sent since then, write by write. */
    swallowed: () => swallowed,
    async close() {
      for (const end of ends) end.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
