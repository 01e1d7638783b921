import type { Db } from '@cardea/storage/db';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readEntryBytes } from '../src/entry-store.ts';
import { FatalLogError, openLog } from '../src/append/log.ts';
import type { AuditStore } from '../src/append/log.ts';
import { createPool } from '../src/append/pool.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { ORIGIN, anEvent, appendTo, someEvents } from './test-log.ts';

const identity = { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: Date.now };
const onFatal = (error: FatalLogError) => {
  throw error;
};

describe.each(engines)('the pool on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;
  let transactions: number;
  let log: AuditStore;

  beforeEach(async () => {
    database = await auditDatabase(engine);
    db = database.open();
    transactions = 0;
    const counted: Db = {
      ...db,
      lockingTransaction: (...args) => ((transactions += 1), db.lockingTransaction(...args)),
    };
    log = await openLog(counted, identity);
  });

  afterEach(async () => {
    await db.close();
    await database.remove();
  });

  test('200 appends at once share few transactions, and each gets its own receipt', async () => {
    const pool = createPool(log, { onFatal });
    const events = someEvents(200);
    const results = await Promise.all(events.map((event) => pool.append([event], 'api-service')));

    expect(results.map(({ items }) => items[0]!.id)).toEqual(events.map(({ id }) => id));
    expect(new Set(results.map(({ items }) => items[0]!.seq)).size).toBe(200);
    expect(transactions).toBeLessThanOrEqual(5);
    expect(await readEntryBytes(db, 0, 300)).toHaveLength(200);
  });

  test('no transaction has more than 512 events', async () => {
    const pool = createPool(log, { onFatal });
    await Promise.all([1, 2, 3, 4].map(() => pool.append(someEvents(256), 'api-service')));

    expect(transactions).toBe(2);
  });

  test('a conflict refuses its own request and no other', async () => {
    const pool = createPool(log, { onFatal });
    const event = anEvent();
    await pool.append([event], 'api-service');
    const good = anEvent();
    const [bad, other] = await Promise.allSettled([
      pool.append([good, anEvent({ id: event.id, decision: 'deny' })], 'worker'),
      pool.append([anEvent()], 'api-service'),
    ]);

    expect(bad).toMatchObject({ reason: { code: 'conflict', errors: [{ path: 'events.1.id' }] } });
    expect(other).toMatchObject({ status: 'fulfilled' });
    expect((await pool.append([good], 'worker')).size).toBe(4);
  });

  test('a stopped pool writes the waiting events and accepts no more', async () => {
    const pool = createPool(log, { onFatal });
    const waiting = pool.append(someEvents(3), 'api-service');
    await pool.stop();

    expect(await readEntryBytes(db, 0, 10)).toHaveLength(3);
    expect((await waiting).size).toBe(3);
    await expect(pool.append([anEvent()], 'api-service')).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a fatal error refuses all waiting events and is reported once', async () => {
    const otherDb = database.open();
    const fatal: FatalLogError[] = [];
    const pool = createPool(log, { onFatal: (error) => fatal.push(error) });
    await appendTo(await openLog(otherDb, identity), [anEvent()]);
    const appends = [
      pool.append(someEvents(256), 'a'),
      pool.append(someEvents(256), 'b'),
      pool.append([anEvent()], 'c'),
    ];

    for (const result of await Promise.allSettled(appends)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
    }
    expect(fatal).toEqual([expect.any(FatalLogError)]);
    await expect(pool.append([anEvent()], 'a')).rejects.toMatchObject({ code: 'unavailable' });
    expect(await readEntryBytes(db, 0, 10)).toHaveLength(1);
    await otherDb.close();
  });
});

describe('limits of the waiting events', () => {
  const refusal = { code: 'unavailable', retryAfterSeconds: 1 };

  test('after 4,096 waiting events the next is refused', async () => {
    const { log, started, answer } = stuckLog();
    const pool = createPool(log, { onFatal, clockMs: () => 0 });
    const taken = [pool.append([anEvent()], 'api-service')];
    await started;
    const events = someEvents(256);
    for (let i = 0; i < 16; i += 1) taken.push(pool.append(events, 'api-service'));

    expect(pool.waiting()).toBe(4096);
    await expect(pool.append([anEvent()], 'api-service')).rejects.toMatchObject(refusal);
    answer();
    await Promise.all(taken);
    expect(pool.waiting()).toBe(0);
  });

  test('after 8 MiB of waiting events the next is refused', async () => {
    const { log, started, answer } = stuckLog();
    const pool = createPool(log, { onFatal, clockMs: () => 0 });
    const taken = [pool.append([anEvent()], 'api-service')];
    await started;
    const long = '\u001f'.repeat(1024);
    const large = Array.from({ length: 170 }, () => anEvent({ reason: long, rule: long }));
    for (let i = 0; i < 3; i += 1) taken.push(pool.append(large, 'api-service'));
    const fourth = pool.append(large, 'api-service');

    await expect(fourth).rejects.toMatchObject(refusal);
    answer();
    await Promise.all(taken);
  });

  test('while an event has waited for more than a second the next is refused', async () => {
    const { log, started, answer } = stuckLog();
    let clock = 0;
    const pool = createPool(log, { onFatal, clockMs: () => clock });
    const taken = [pool.append([anEvent()], 'api-service')];
    await started;
    taken.push(pool.append([anEvent()], 'api-service'));
    clock = 1000;
    taken.push(pool.append([anEvent()], 'api-service'));
    clock = 1001;

    await expect(pool.append([anEvent()], 'api-service')).rejects.toMatchObject(refusal);
    answer();
    await Promise.all(taken);
  });
});

// A log whose disk answers only when the test says so.
function stuckLog() {
  const disk = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const log: Pick<AuditStore, 'append'> = {
    async append(batch) {
      started.resolve();
      await disk.promise;
      return { items: batch.map(({ event }, seq) => ({ id: event.id, seq, leaf: '' })), size: batch.length };
    },
  };
  return { log, started: started.promise, answer: () => disk.resolve() };
}
