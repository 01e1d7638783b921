import { rootHash } from '@cardea/crypto/merkle';
import type { Db } from '@cardea/storage/db';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parseEntry } from '../src/entry-row.ts';
import { moveHead, readEntryBytes, readHead, readRows, storedTree } from '../src/entry-store.ts';
import { FatalLogError, openLog } from '../src/append/log.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import {
  ORIGIN,
  VECTORS_NOW,
  anEvent,
  appendTo,
  someEvents,
  vectorSubmissions,
  vectors,
  withoutTriggers,
} from './test-log.ts';

const publicKey = Buffer.from(vectors.publicKey, 'hex');
const identity = { origin: ORIGIN, publicKey, now: () => VECTORS_NOW };

describe.each(engines)('the log on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;

  beforeEach(async () => {
    database = await auditDatabase(engine);
    db = database.open();
  });

  afterEach(async () => {
    await db.close();
    await database.remove();
  });

  test('the frozen events give the frozen entries, chain and leaves', async () => {
    const log = await openLog(db, { ...identity, origin: vectors.origin });
    await log.append(vectorSubmissions.slice(0, 2));
    const { items, size } = await log.append(vectorSubmissions.slice(2));

    expect(size).toBe(5);
    expect(items[2]).toEqual({
      id: vectorSubmissions[4]!.event.id,
      seq: 4,
      leaf: Buffer.from(vectors.entries[4]!.leaf, 'hex').toString('base64'),
    });
    const rows = await readRows(db, 0, 10);
    expect(rows.map(({ entry }) => Buffer.from(entry).toString())).toEqual(vectors.entries.map(({ entry }) => entry));
    expect(rows.map(({ leaf }) => Buffer.from(leaf).toString('hex'))).toEqual(vectors.entries.map((e) => e.leaf));
    expect(Buffer.from((await readHead(db)).chain).toString('hex')).toBe(vectors.entries[4]!.chain);
  });

  test('an id sent again with the same bytes gets the same position, even after a restart', async () => {
    const event = anEvent();
    const first = await appendTo(await openLog(db, identity), [event, anEvent()]);
    const again = await appendTo(await openLog(db, identity), [anEvent(), event]);

    expect(again.items[1]).toEqual(first.items[0]);
    expect(again.size).toBe(3);
  });

  test('ids sent again keep their positions, old and new, in any order and beside new ids', async () => {
    const events = someEvents(5);
    const late = anEvent();
    const newer = someEvents(2);
    const log = await openLog(db, identity);
    const first = await appendTo(log, [...events, ...newer]);

    for (const writer of [log, await openLog(db, identity)]) {
      const again = await appendTo(writer, [newer[1]!, events[0]!, events[4]!, newer[0]!]);
      expect(again.items.map((item) => 'seq' in item && item.seq)).toEqual([6, 0, 4, 5]);
      expect(again.items[0]).toEqual(first.items[6]);
    }
    const mixed = await appendTo(await openLog(db, identity), [anEvent(), late, newer[1]!, late]);
    expect(mixed.items.map((item) => 'seq' in item && item.seq)).toEqual([7, 8, 6, 8]);
    expect(mixed.size).toBe(9);
  });

  test('only an id that could be in the log is looked up', async () => {
    const texts: string[] = [];
    const watched: Db = {
      ...db,
      lockingTransaction: (locks, work) =>
        db.lockingTransaction(locks, (tx) =>
          work({
            inTransaction: true,
            lock: (name) => tx.lock(name),
            query: (sql, params) => (texts.push(sql), tx.query(sql, params)),
          }),
        ),
    };
    const lookUps = () => texts.splice(0).filter((sql) => sql.includes('event_id in')).length;
    const [old, ...more] = someEvents(3);
    const log = await openLog(watched, identity);
    await appendTo(log, more);
    await appendTo(log, someEvents(3));
    expect(lookUps()).toBe(0);

    await appendTo(log, [anEvent(), old!]);
    await appendTo(log, [more[1]!]);
    expect(lookUps()).toBe(2);
  });

  test('an id that another process put into the database is not appended again: the log stops', async () => {
    const log = await openLog(db, identity);
    const event = anEvent();
    await db.query(
      `insert into audit_entry (seq, event_id, entry, leaf, written_at)
       select 7, $1, chain, chain, '' from audit_head`,
      [event.id],
    );

    await expect(appendTo(log, [event])).rejects.toThrow(FatalLogError);
    expect(await readEntryBytes(db, 0, 7)).toHaveLength(0);
  });

  test('an entry names the service that submitted it first', async () => {
    const log = await openLog(db, identity);
    const [event, other] = [anEvent({ action: 'user.change' }), anEvent()];
    await log.append([
      { event, peer: 'worker' },
      { event: other, peer: 'api-service' },
    ]);
    const { items } = await log.append([{ event, peer: 'api-service' }]);

    expect(items).toMatchObject([{ seq: 0 }]);
    const entries = (await readEntryBytes(db, 0, 3)).map(parseEntry);
    expect(entries.map(({ peer }) => peer)).toEqual(['worker', 'api-service']);
  });

  test('an id repeated within one batch is appended once', async () => {
    const event = anEvent();
    const { items, size } = await appendTo(await openLog(db, identity), [event, event]);

    expect(items[1]).toEqual(items[0]);
    expect(size).toBe(1);
  });

  test('an id sent again with other bytes is a conflict, and the conflict is recorded', async () => {
    const log = await openLog(db, identity);
    const event = anEvent();
    await appendTo(log, [event]);
    const { items } = await appendTo(log, [anEvent({ id: event.id, decision: 'deny' }), anEvent()]);

    expect(items[0]).toEqual({ id: event.id, conflict: true });
    expect(items[1]).toMatchObject({ seq: 2 });
    const [, recorded] = (await readEntryBytes(db, 0, 3)).map(parseEntry);
    expect(recorded!.peer).toBe('audit-service');
    expect(recorded!.event).toMatchObject({
      action: 'audit.conflict',
      decision: 'deny',
      actor: { id: 'api-service', type: 'service' },
      resource: { name: event.id },
    });
  });

  test('the times of the log do not go backwards when the clock does', async () => {
    let now = VECTORS_NOW;
    const log = await openLog(db, { ...identity, now: () => now });
    await appendTo(log, [anEvent()]);
    now -= 60_000;
    await appendTo(log, [anEvent()]);

    const times = (await readEntryBytes(db, 0, 2)).map((entry) => parseEntry(entry).writtenAt);
    expect(times).toEqual(['2026-11-22T06:27:31.000000Z', '2026-11-22T06:27:31.000001Z']);
  });

  test('stored subtrees give the same root as the leaves', async () => {
    const log = await openLog(db, identity);
    for (const count of [200, 100, 512]) await appendTo(log, someEvents(count));
    const { leaves } = storedTree(db);

    expect(await db.query('select level, ordinal from audit_tile order by ordinal')).toEqual(
      [0, 1, 2].map((ordinal) => ({ level: 1, ordinal })),
    );
    expect(await rootHash(storedTree(db), 812)).toEqual(await rootHash({ leaves }, 812));
  });

  test('a second writer is told to stop', async () => {
    const first = await openLog(db, identity);
    const otherDb = database.open();
    const second = await openLog(otherDb, identity);
    await appendTo(first, [anEvent()]);

    await expect(appendTo(second, [anEvent()])).rejects.toThrow(FatalLogError);
    expect(await readEntryBytes(db, 0, 10)).toHaveLength(1);
    await otherDb.close();
  });

  test('two writers at the same moment leave one chain', async () => {
    const otherDb = database.open();
    const logs = [await openLog(db, identity), await openLog(otherDb, identity)];
    const results = await Promise.allSettled(logs.map((log) => appendTo(log, someEvents(3))));

    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await readEntryBytes(db, 0, 10)).toHaveLength(3);
    await otherDb.close();
  });

  test('a log whose head was put back to an earlier end stops', async () => {
    const log = await openLog(db, identity);
    await appendTo(log, [anEvent()]);
    const { size, chain } = await readHead(db);
    await appendTo(log, [anEvent()]);
    await withoutTriggers(db, 'update audit_head set size = $1, chain = $2 where id = 1', [size, chain]);

    await expect(appendTo(log, [anEvent()])).rejects.toThrow('the head is at 1 and not at 2');
  });

  test('a head whose hash is not that of the last entry stops the log, and nothing more is written', async () => {
    const log = await openLog(db, identity);
    await appendTo(log, someEvents(2));
    await withoutTriggers(db, 'update audit_head set chain = (select leaf from audit_entry where seq = 0)');

    await expect(appendTo(log, [anEvent()])).rejects.toThrow(FatalLogError);
    expect(await readEntryBytes(db, 0, 10)).toHaveLength(2);
  });

  test('the head moves only from where the writer saw it', async () => {
    await appendTo(await openLog(db, identity), [anEvent()]);
    const head = await readHead(db);
    const to = { size: 2, chain: Buffer.alloc(32, 2) };
    const move = (from: typeof head) => db.transaction((tx) => moveHead(tx, from, to));

    expect(await move({ ...head, size: 0 })).toBe(false);
    expect(await move({ ...head, chain: Buffer.alloc(32, 1) })).toBe(false);
    expect(await readHead(db)).toEqual(head);
    expect(await move(head)).toBe(true);
  });

  test('a log of another key or origin does not open', async () => {
    await appendTo(await openLog(db, identity), [anEvent()]);

    await expect(openLog(db, { ...identity, origin: 'other.test/audit' })).rejects.toThrow('does not hold the log');
    await expect(openLog(db, { ...identity, publicKey: Buffer.alloc(32) })).rejects.toThrow('does not hold the log');
  });

  test('a log whose head is not at the last entry does not open', async () => {
    await appendTo(await openLog(db, identity), someEvents(3));
    await withoutTriggers(db, 'update audit_head set size = 2 where id = 1');

    await expect(openLog(db, identity)).rejects.toThrow('damaged');
  });

  test.each([
    "update audit_entry set written_at = '' where seq = 0",
    'delete from audit_entry where seq = 1',
    'update audit_tile set level = 2',
    'delete from audit_tile',
    'delete from audit_head',
    'update audit_head set size = 255',
    "update audit_head set chain = cast('' as bytea)",
  ])('the database refuses: %s', async (sql) => {
    await appendTo(await openLog(db, identity), someEvents(256));

    const onEngine = db.engine === 'sqlite' ? sql.replace('bytea', 'blob') : sql;
    await expect(db.query(onEngine)).rejects.toThrow('append-only');
    expect(await readEntryBytes(db, 0, 300)).toHaveLength(256);
  });
});

describe('if PostgreSQL stops answering', () => {
  let database: AuditDatabase;
  let db: Db;

  beforeEach(async () => {
    database = await auditDatabase('postgres');
    db = database.open();
    await db.query(`create function die() returns trigger language plpgsql as
      $$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end $$`);
  });

  afterEach(async () => {
    await db.close();
    await database.remove();
  });

  test('in the middle of a commit, the log must stop', async () => {
    const log = await openLog(db, identity);
    await db.query(`create constraint trigger die_in_commit after insert on audit_entry
      deferrable initially deferred for each row execute function die()`);

    await expect(appendTo(log, [anEvent()])).rejects.toThrow(FatalLogError);
  });

  test('before the commit, nothing was written and the log continues', async () => {
    const log = await openLog(db, identity);
    await db.query('create trigger die_before_commit after insert on audit_entry execute function die()');
    const event = anEvent();

    await expect(appendTo(log, [event])).rejects.toMatchObject({ code: 'unavailable' });
    await db.query('drop trigger die_before_commit on audit_entry');
    expect((await appendTo(log, [event])).items).toMatchObject([{ seq: 0 }]);
  });
});
