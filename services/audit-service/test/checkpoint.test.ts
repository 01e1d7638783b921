import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { openCheckpoint } from '@cardea/crypto/checkpoint';
import { chainHash, leafHash } from '@cardea/crypto/hash-chain';
import { StartError } from '@cardea/process/config';
import type { Db } from '@cardea/storage/db';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { toRow } from '../src/entry-row.ts';
import { insertEntries, readEntryBytes, readHead } from '../src/entry-store.ts';
import { FatalLogError, openLog } from '../src/append/log.ts';
import { auditDatabase, copySqlite, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import {
  ORIGIN,
  VECTORS_NOW,
  anEvent,
  appendTo,
  someEvents,
  startLog,
  vectorSubmissions,
  vectors,
  withoutTriggers,
} from './test-log.ts';

describe.each(engines)('the signer on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;
  let now: number;

  beforeEach(async () => {
    database = await auditDatabase(engine);
    db = database.open();
    now = VECTORS_NOW;
  });

  afterEach(async () => {
    await db.close();
    await database.remove();
  });

  const start = (origin?: string) =>
    startLog(db, database.folder, { now: () => now, ...(origin === undefined ? {} : { origin }) });
  const lastSigned = () => JSON.parse(readFileSync(join(database.folder, 'last-signed.json'), 'utf8'));

  test('the frozen events and key give the frozen checkpoints', async () => {
    writeFileSync(join(database.folder, 'signing-key'), `${vectors.seed}\n`, { mode: 0o600 });
    const { log, signer, vkey } = await start(vectors.origin);
    await log.append(vectorSubmissions.slice(0, 3));
    expect((await signer.signIfGrown()).note).toBe(vectors.checkpoints['3']);
    await log.append(vectorSubmissions.slice(3));
    expect((await signer.signIfGrown()).note).toBe(vectors.checkpoints['5']);

    expect(vkey).toBe(vectors.vkey);
    expect(lastSigned()).toMatchObject({ size: 5, chain: vectors.entries[4]!.chain, note: vectors.checkpoints['5'] });
  });

  test('the first start makes a key that only its owner can read, shows the verifier key and signs the empty log', async () => {
    const { signer, vkey } = await start();

    expect(statSync(join(database.folder, 'signing-key')).mode & 0o777).toBe(0o600);
    expect(statSync(join(database.folder, 'verifier-key')).mode & 0o777).toBe(0o644);
    expect(readFileSync(join(database.folder, 'verifier-key'), 'utf8')).toBe(`${vkey}\n`);
    expect(openCheckpoint(signer.newest().note, vkey).size).toBe(0);
  });

  test('a growing log is signed at every tick, a quiet one after 10 minutes', async () => {
    const { log, signer } = await start();
    await appendTo(log, [anEvent()]);
    now += 10_000;
    await signer.tick();
    const grown = signer.newest();
    now += 10 * 60_000 - 1;
    await signer.tick();
    const quiet = signer.newest();
    now += 1;
    await signer.tick();

    expect(grown).toMatchObject({ size: 1, signedAt: '2026-11-22T06:27:41.000000Z' });
    expect(quiet).toEqual(grown);
    expect(signer.newest()).toMatchObject({ size: 1, signedAt: '2026-11-22T06:37:41.000000Z' });
  });

  test('signing continues after a restart, with the entries that came in between', async () => {
    const first = await start();
    await appendTo(first.log, someEvents(300));
    await first.signer.signIfGrown();
    await appendTo(first.log, someEvents(300));
    const second = await start();

    expect(second.signer.newest().size).toBe(600);
    expect(second.vkey).toBe(first.vkey);
  });

  test('entries that were read ahead are not read again for the checkpoint, and reading ahead finds damage', async () => {
    const { log, signer } = await start();
    await appendTo(log, someEvents(300));
    await signer.readAhead();
    await withoutTriggers(db, "update audit_entry set written_at = 'never' where seq = 7");
    const { size } = await signer.signIfGrown();
    await appendTo(log, someEvents(1));
    await withoutTriggers(db, "update audit_entry set written_at = 'never' where seq = 300");

    expect(size).toBe(300);
    await expect(signer.readAhead()).rejects.toThrow('entry 300: written_at differ');
    await expect(signer.signIfGrown()).rejects.toThrow(FatalLogError);
  });

  test('while the database hangs, no second read ahead starts', async () => {
    const hanging = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    let asked = 0;
    let hangs = false;
    const query: Db['query'] = async (sql, params) => {
      if (hangs) asked += 1;
      if (hangs) begun.resolve();
      if (hangs) await hanging.promise;
      return db.query(sql, params);
    };
    const { log, signer } = await startLog({ ...db, query }, database.folder, { now: () => now });
    await appendTo(log, [anEvent()]);
    hangs = true;
    const readings = Array.from({ length: 5 }, () => signer.readAhead());
    await begun.promise;
    await setTimeout(20);
    const askedWhileHanging = asked;
    hangs = false;
    hanging.resolve();
    await Promise.all(readings);
    await appendTo(log, [anEvent()]);
    await signer.readAhead();

    expect(askedWhileHanging).toBe(1);
    expect(new Set(readings).size).toBe(1);
  });

  test.each(['v', 'peer'])(
    'an entry without %s that came into the database between two starts is refused, even if chain, columns and head fit',
    async (field) => {
      const { log } = await start();
      await appendTo(log, [anEvent()]);
      await withoutTriggers(db, 'delete from audit_tile');
      await forge({ [field]: undefined });
      await forge({});
      const restart = start();

      await expect(restart).rejects.toThrow(FatalLogError);
      await expect(restart).rejects.toThrow('entry 1 on disk is not a valid entry');
    },
  );

  /** Adds an entry after the last one, with its columns and a new head. */
  async function forge(changes: object): Promise<void> {
    const { size } = await readHead(db);
    const [last] = await readEntryBytes(db, size - 1, size);
    const position = { seq: size, writtenAt: `2026-11-22T06:27:32.00000${size}Z` };
    const prev = Buffer.from(chainHash(last!)).toString('hex');
    const { event } = anEvent();
    const entry = { event, log: ORIGIN, peer: 'api-service', prev, v: 1, ...position, ...changes };
    const bytes = Buffer.from(canonicalize(JSON.parse(JSON.stringify(entry))));
    await db.transaction((tx) => insertEntries(tx, db.engine, [toRow(event, position, bytes)]));
    await db.query('update audit_head set size = $1, chain = $2 where id = 1', [size + 1, chainHash(bytes)]);
  }

  test('a long log is read again in small steps, and other work runs between them', async () => {
    const turns = countTurns();
    const readIn: number[] = [];
    const query: Db['query'] = (sql, params) => {
      if (sql.includes('entry, leaf, written_at')) readIn.push(turns.now());
      return db.query(sql, params);
    };
    const { log, signer } = await startLog({ ...db, query }, database.folder, { now: () => now });
    await appendTo(log, someEvents(600));
    readIn.length = 0;
    await signer.signIfGrown();
    turns.stop();

    expect(readIn).toHaveLength(Math.ceil(600 / 64));
    expect(new Set(readIn).size).toBe(readIn.length);
  });

  test.each([
    ['delete from audit_term where seq = 300', 'entry 300 is not in the index'],
    [
      'delete from audit_term where seq = 7 and term = (select min(term) from audit_term)',
      'entry 7 is not in the index',
    ],
    ["update audit_entry set written_at = '2020-01-01T00:00:00.000000Z' where seq = 0", 'entry 0: written_at differ'],
    ["update audit_entry set leaf = cast('' as bytea) where seq = 299", 'entry 299: leaf differ'],
    ['update audit_head set chain = (select leaf from audit_entry where seq = 300)', 'the head is not the hash'],
    ["update audit_entry set entry = cast('{}' as bytea) where seq = 7", 'entry 7 on disk is not a valid entry'],
    [
      'update audit_tile set hash = (select leaf from audit_entry where seq = 0)',
      'the stored hash over entries 0 to 255',
    ],
    ['delete from audit_entry where seq = 12', 'entry 12 is missing'],
    ['delete from audit_entry where seq = 300', 'entry 300 is missing'],
  ])('a change on disk is not signed: %s', async (sql, message) => {
    const { log, index, signer } = await start();
    await appendTo(log, someEvents(301));
    await index.follow();
    await withoutTriggers(db, sql);

    const signing = signer.signIfGrown();
    await expect(signing).rejects.toThrow(FatalLogError);
    await expect(signing).rejects.toThrow(message);
    expect(lastSigned().size).toBe(0);
  });

  test.each([
    [3, 'entry 4 does not follow the one before it'],
    [4, 'the head is not the hash of the last entry'],
  ])('entry %i of 5 is not signed if it was written again with its columns', async (seq, message) => {
    const { log, signer } = await start();
    await appendTo(log, someEvents(5));
    const [entry] = await readEntryBytes(db, seq, seq + 1);
    const forged = Buffer.from(Buffer.from(entry!).toString().replace('"allow"', '"deny"'));
    await withoutTriggers(db, 'delete from audit_tile');
    await db.query('update audit_entry set entry = $1, leaf = $2 where seq = $3', [forged, leafHash(forged), seq]);

    await expect(signer.signIfGrown()).rejects.toThrow(message);
  });

  test('a database with fewer entries than the last checkpoint is refused', async () => {
    const { log, signer } = await start();
    await appendTo(log, someEvents(5));
    await signer.signIfGrown();
    await cutAfterThree(db);

    await expect(start()).rejects.toThrow(StartError);
    await expect(start()).rejects.toThrow('ROLLBACK DETECTED: 5 entries were signed');
  });

  test('a database with other entries than the signed ones is refused, even if it has as many', async () => {
    const { log, signer, key } = await start();
    await appendTo(log, someEvents(5));
    await signer.signIfGrown();
    await cutAfterThree(db);
    await appendTo(await openLog(db, { origin: ORIGIN, publicKey: key.publicKey, now: () => now }), someEvents(4));

    await expect(start()).rejects.toThrow('ROLLBACK DETECTED: the first 5 entries differ from those');
  });

  test('a log without its last-signed.json is refused', async () => {
    const { log } = await start();
    await appendTo(log, [anEvent()]);
    rmSync(join(database.folder, 'last-signed.json'));

    await expect(start()).rejects.toThrow('ROLLBACK DETECTED: the audit log has 1 entries, but last-signed.json');
  });

  test('a changed last-signed.json is refused', async () => {
    await start();
    writeFileSync(join(database.folder, 'last-signed.json'), JSON.stringify({ ...lastSigned(), size: 1 }));

    await expect(start()).rejects.toThrow(StartError);
  });

  test('a log without its signing key is refused', async () => {
    const { log } = await start();
    await appendTo(log, [anEvent()]);
    rmSync(join(database.folder, 'signing-key'));

    await expect(start()).rejects.toThrow('signing-key is missing');
  });

  test('a clock more than 5 minutes behind the log is refused, with both times', async () => {
    const { log } = await start();
    await appendTo(log, [anEvent()]);
    now -= 5 * 60_000;
    await start();
    now -= 1;

    await expect(start()).rejects.toThrow(
      'written at 2026-11-22T06:27:31.000000Z, but the clock says 2026-11-22T06:22:30.999Z',
    );
  });
});

test('an older copy of the database file is refused', async () => {
  const [database, copy] = [await auditDatabase('sqlite'), await auditDatabase('sqlite')];
  let db = database.open();
  await appendTo((await startLog(db, database.folder)).log, someEvents(3));
  await db.close();
  copySqlite(database, copy);
  db = database.open();
  const { log, signer } = await startLog(db, database.folder);
  await appendTo(log, someEvents(3));
  await signer.signIfGrown();
  await db.close();
  copySqlite(copy, database);
  db = database.open();

  await expect(startLog(db, database.folder)).rejects.toThrow('ROLLBACK DETECTED: 6 entries were signed');
  await db.close();
  await database.remove();
  await copy.remove();
});

/** Makes an older state of the log, as well as an attacker can. */
async function cutAfterThree(db: Db): Promise<void> {
  await withoutTriggers(db, 'delete from audit_entry where seq >= 3');
  const [last] = await readEntryBytes(db, 2, 3);
  await withoutTriggers(db, 'update audit_head set size = 3, chain = $1 where id = 1', [chainHash(last!)]);
}

/** Counts the turns of the event loop. */
function countTurns() {
  let turn = 0;
  const next = () => {
    turn += 1;
    immediate = setImmediate(next);
  };
  let immediate = setImmediate(next);
  return { now: () => turn, stop: () => clearImmediate(immediate) };
}
