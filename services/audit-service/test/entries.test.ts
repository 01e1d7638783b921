import { InternalEntryQuery } from '@cardea/contracts/audit-api';
import type { EntryAnswer } from '@cardea/contracts/audit-api';
import type { Db, SqlValue } from '@cardea/storage/db';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { listEntries } from '../src/read/entries.ts';
import { parseEntry } from '../src/entry-row.ts';
import { readEntryBytes } from '../src/entry-store.ts';
import { openQueryIndex } from '../src/index/query-index.ts';
import { termOf } from '../src/index/terms.ts';
import { openLog } from '../src/append/log.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { ORIGIN, VECTORS_NOW, anEvent, appendTo, someEvents } from './test-log.ts';

const SIZE = 3_000;
const BILLING = '0197f3c2-0000-7000-8000-0000000000b1';
const MAIL_ID = '0197f3c2-0000-7000-8000-0000000000a1';

async function ask(db: Db, query: Record<string, unknown>): Promise<EntryAnswer> {
  return listEntries({ db, index: await openQueryIndex(db) }, InternalEntryQuery.parse(query));
}

describe.each(engines)('the entries on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;

  beforeAll(async () => {
    database = await auditDatabase(engine);
    db = database.open();
    let now = VECTORS_NOW;
    const log = await openLog(db, { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: () => now });
    // Entry n is written n minutes after the first.
    for (let i = 0; i < 12; i += 1) {
      const actor = i % 3 === 0 ? { id: BILLING, name: 'billing', type: 'application' as const } : undefined;
      await appendTo(log, [
        anEvent({
          ...(actor ? { actor } : {}),
          action: i % 2 === 0 ? 'secret.read' : 'secret.write',
          decision: i % 4 === 0 ? 'deny' : 'allow',
          resource: resourceOf(i),
          ...(i === 7 ? { requestId: 'request-7', suspicious: 'token_forged' } : {}),
        }),
      ]);
      now += 60_000;
    }
  });

  afterAll(async () => {
    await db.close();
    await database.remove();
  });

  async function list(query: Record<string, unknown>) {
    const { items, ...rest } = await ask(db, query);
    return { seqs: items.map((item) => item.seq), ...rest };
  }

  test('come newest first, unchanged', async () => {
    const { items } = await ask(db, {});

    expect(items.map((item) => item.seq)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    expect(items[0]).toMatchObject({
      log: ORIGIN,
      writtenAt: '2026-11-22T06:38:31.000000Z',
      event: { action: 'secret.write' },
    });
  });

  test.each(['newest', 'oldest'])('come in pages without a gap or a repetition, the %s first', async (order) => {
    const seqs: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await list({ order, limit: 5, ...(cursor === undefined ? {} : { cursor }) });
      seqs.push(...page.seqs);
      cursor = page.nextCursor;
    } while (cursor !== undefined);

    const oldestFirst = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
    expect(seqs).toEqual(order === 'oldest' ? oldestFirst : oldestFirst.toReversed());
  });

  test.each([
    [{ vault: 'payments' }, [5, 4, 3, 2, 1, 0]],
    [{ vault: 'payments', decision: 'deny' }, [4, 0]],
    [{ vault: 'mail', action: 'secret.read', actor: 'alice' }, [8]],
    [{ vault: MAIL_ID }, [9, 8, 7, 6]],
    [{ vaultId: MAIL_ID, decision: 'deny' }, [8]],
    [{ actor: BILLING }, [9, 6, 3, 0]],
    [{ actor: `application:${BILLING}` }, [9, 6, 3, 0]],
    [{ actor: 'application:billing' }, [9, 6, 3, 0]],
    [{ actor: 'billing' }, [9, 6, 3, 0]],
    [{ actor: 'user:alice' }, [11, 10, 8, 7, 5, 4, 2, 1]],
    [{ actor: 'alice-id' }, [11, 10, 8, 7, 5, 4, 2, 1]],
    [{ actor: 'alice' }, [11, 10, 8, 7, 5, 4, 2, 1]],
    [{ actor: 'alice', action: 'secret.write', decision: 'allow' }, [11, 7, 5, 1]],
    [{ actor: 'user:bob' }, []],
    [{ actor: 'bob' }, []],
    [{ vaultId: MAIL_ID, actor: 'billing' }, [9, 6]],
    [{ vaultId: MAIL_ID, actor: 'bob' }, []],
    [{ vaultId: MAIL_ID, actor: 'nobody' }, []],
    [{ action: 'secret.read' }, [10, 8, 6, 4, 2, 0]],
    [{ action: 'secret.read', decision: 'deny' }, [8, 4, 0]],
    [{ action: 'key.sign' }, []],
    [{ decision: 'deny' }, [8, 4, 0]],
    [{ decision: 'allow' }, [11, 10, 9, 7, 6, 5, 3, 2, 1]],
    [{ name: 'db/1' }, [9, 7, 5, 3, 1]],
    [{ name: 'moved/here' }, [9]],
    [{ vault: 'archive' }, [9]],
    [{ requestId: 'request-7' }, [7]],
    [{ requestId: 'request-8' }, []],
    [{ suspicious: 'any' }, [7]],
    [{ suspicious: 'token_forged', actor: 'alice' }, [7]],
    [{ suspicious: 'wrong_peer' }, []],
    [{ seq: 3 }, [3]],
    [{ seq: 3, actor: 'alice' }, []],
    [{ fromSeq: 3, toSeq: 5 }, [4, 3]],
    [{ fromSeq: 3, toSeq: 100, actor: 'billing' }, [9, 6, 3]],
    [{ from: '2026-11-22T06:36:31Z' }, [11, 10, 9]],
    [{ to: '2026-11-22T06:29:31.000Z' }, [1, 0]],
    [{ from: '2026-11-22T06:28:31Z', to: '2026-11-22T06:30:31.000000Z', actor: 'alice' }, [2, 1]],
    [{ from: '2026-11-22', to: '2026-11-23', actor: 'billing' }, [9, 6, 3, 0]],
    [{ from: '2026-11-23' }, []],
    [{ from: '2027-01-01T00:00:00Z' }, []],
    [{ from: '2020-01-01T00:00:00Z', limit: 2 }, [11, 10]],
    [{ to: '2020-01-01T00:00:00Z' }, []],
    [{ to: '2027-01-01T00:00:00Z', decision: 'deny', limit: 2 }, [8, 4]],
    [{ cursor: '4', action: 'secret.read' }, [2, 0]],
    [{ cursor: '4', action: 'secret.read', order: 'oldest' }, [6, 8, 10]],
    [{ after: 6, actor: 'alice' }, [7, 8, 10, 11]],
    [{ after: 6, actor: 'alice', limit: 2 }, [7, 8]],
  ])('that match %j are found', async (query, expected) => {
    expect((await list(query)).seqs).toEqual(expected);
  });

  test.each([
    [{ actor: 'nobody' }, 'actor'],
    [{ actor: 'user:billing' }, 'actor'],
    [{ vault: 'paymnets' }, 'vault'],
    [{ vault: BILLING }, 'vault'],
    [{ action: 'secret.raed' }, 'action'],
    [{ name: 'db/3' }, 'name'],
    [{ key: 'db/1' }, 'key'],
    [{ suspicious: 'token_frged' }, 'suspicious'],
    [{ seq: 12 }, 'seq'],
    [{ after: 12 }, 'after'],
    [{ vaultId: MAIL_ID, action: 'secret.raed' }, 'action'],
    [{ vaultId: MAIL_ID, name: 'db/3' }, 'name'],
    [{ vaultId: MAIL_ID, name: 'of/payments' }, 'name'],
    [{ vaultId: MAIL_ID, key: 'db/1' }, 'key'],
    [{ waitSeconds: 1 }, 'waitSeconds'],
    [{ after: 3, cursor: '4' }, 'cursor'],
    [{ after: 3, order: 'newest' }, 'order'],
  ])('that match %j are no empty list: the question is refused', async (query, parameter) => {
    expect(await ask(db, query)).toEqual({
      items: [],
      refused: { parameter, message: expect.any(String), unknown: expect.any(Boolean) },
    });
  });

  test('of a user and of an application with one name are not mixed', async () => {
    const own = await auditDatabase(engine);
    const ownDb = own.open();
    const log = await openLog(ownDb, { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: () => VECTORS_NOW });
    await appendTo(log, [
      anEvent({ actor: { id: 'u-1', name: 'billing', type: 'user' } }),
      anEvent({ actor: { id: 'a-1', name: 'billing', type: 'application' } }),
      anEvent({ actor: { id: 'u-2', name: 'u-1', type: 'user' } }),
      anEvent({ action: 'key.sign', resource: { vault: 'payments', name: 'billing' } }),
    ]);

    const message = expect.stringContaining('ask for user:billing or application:billing');
    expect(await ask(ownDb, { actor: 'billing' })).toMatchObject({
      refused: { parameter: 'actor', message, unknown: false },
    });
    expect((await ask(ownDb, { actor: 'user:billing' })).items.map(({ seq }) => seq)).toEqual([0]);
    expect((await ask(ownDb, { actor: 'application:billing' })).items.map(({ seq }) => seq)).toEqual([1]);
    // Nobody hides behind the id of another account by taking it as a name.
    expect((await ask(ownDb, { actor: 'user:u-1' })).items.map(({ seq }) => seq)).toEqual([0]);
    expect((await ask(ownDb, { key: 'billing' })).items.map(({ seq }) => seq)).toEqual([3]);
    // Neither of them did anything in this vault, and its owner learns nothing more.
    expect(await ask(ownDb, { vaultId: MAIL_ID, actor: 'billing' })).toEqual({ items: [] });
    await ownDb.close();
    await own.remove();
  });

  test('tell who follows them where to go on', async () => {
    expect(await list({ after: 6, actor: 'alice', limit: 2 })).toEqual({ seqs: [7, 8], nextAfter: 8 });
    expect(await list({ after: 8, actor: 'alice', limit: 2 })).toEqual({ seqs: [10, 11], nextAfter: 11 });
    expect(await list({ after: 11, actor: 'alice' })).toEqual({ seqs: [], nextAfter: 11 });
  });
});

function resourceOf(i: number) {
  if (i === 9) return { vault: 'mail', vaultId: MAIL_ID, name: 'db/1', toVault: 'archive', toName: 'moved/here' };
  if (i === 11) return { user: 'bob', name: 'of/payments' };
  if (i === 10) return { user: 'bob' };
  return i < 6 ? { vault: 'payments', name: `db/${i % 2}` } : { vault: 'mail', vaultId: MAIL_ID, name: `db/${i % 2}` };
}

test.each(engines)('an empty log has no entries at any time, on %s', async (engine) => {
  const database = await auditDatabase(engine);
  const db = database.open();
  const query = { from: '2020-01-01T00:00:00Z', to: '2030-01-01T00:00:00Z' };

  expect(await ask(db, query)).toEqual({ items: [] });
  await db.close();
  await database.remove();
});

describe.each(engines)('the entries of a longer log on %s', (engine) => {
  let database: AuditDatabase;
  let db: Db;

  beforeAll(async () => {
    database = await auditDatabase(engine);
    db = database.open();
    await fill(db);
  });

  afterAll(async () => {
    await db.close();
    await database.remove();
  });

  test('begin and end at the requested microsecond', async () => {
    const entries = await readEntryBytes(db, 0, SIZE);
    const timeOf = (seq: number) => parseEntry(entries[seq]!).writtenAt;

    for (const seq of [0, 1, 2, 255, 256, 1023, 1500, SIZE - 2]) {
      const { items } = await ask(db, { from: timeOf(seq), to: timeOf(seq + 1) });
      expect(items.map((item) => item.seq)).toEqual([seq]);
    }
    const last = await ask(db, { from: timeOf(SIZE - 1) });
    expect(last.items.map((item) => item.seq)).toEqual([SIZE - 1]);
  });

  test.each([
    { vault: 'rare' },
    { vault: 'payments', actor: 'rare' },
    { actor: 'rare-id', decision: 'allow' },
    { action: 'rare.read', order: 'oldest' },
    { decision: 'deny' },
    { decision: 'allow' },
    { from: '2026-11-22T06:27:31Z', to: '2026-11-22T06:27:32Z' },
    { seq: 17 },
  ])('that match %j are found without reading the whole log', async (query) => {
    for (const plan of await plansOf(db, query)) {
      expect(plan).not.toMatch(/seq scan on audit_(entry|term)|scan (audit_(entry|term)|t)\b(?! using)/i);
    }
  });

  test('that match two filters are found by the rarer one', async () => {
    const { asked, watched } = watch(db);
    const { items } = await ask(watched, { action: 'rare.read', vault: 'rare', actor: 'rare-id', decision: 'deny' });
    expect(items.map(({ seq }) => seq)).toEqual([0]);
    await ask(watched, { decision: 'allow', actor: 'rare' });
    const last = asked.filter(({ sql }) => sql.includes('as matches')).at(-1)!;
    // The rare actor has one entry, and all others are allowed.
    expect(await db.query(last.sql, last.params)).toEqual([{ seq: 0, matches: 0 }]);
  });

  test('that two common filters do not share take bounded pages, and the pages end', async () => {
    const far = await auditDatabase(engine);
    const farDb = far.open();
    const log = await openLog(farDb, { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: () => VECTORS_NOW });
    const [read, write] = [{ action: 'secret.read' }, { action: 'secret.write', requestId: 'odd' }];
    for (let i = 0; i < 36; i += 1)
      await appendTo(
        log,
        Array.from({ length: 500 }, (_, j) => anEvent(j % 2 ? read : write)),
      );
    const { asked, watched } = watch(farDb);
    const query = { action: 'secret.read', requestId: 'odd' };
    const [pages, seqs]: [number[], number[]] = [[], []];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      asked.length = 0;
      const page: EntryAnswer = await ask(watched, { ...query, cursor });
      pages.push(asked.filter(({ sql }) => sql.includes('as matches')).length);
      seqs.push(...page.items.map(({ seq }) => seq));
      cursor = page.nextCursor;
    }

    expect(seqs).toEqual([]);
    expect(pages).toEqual([expect.any(Number), expect.any(Number)]);
    expect(Math.max(...pages)).toBeLessThanOrEqual(12);
    await farDb.close();
    await far.remove();
  });

  test('whose values share a term with many others are all found, page after page', async () => {
    const own = await auditDatabase(engine);
    const ownDb = own.open();
    const log = await openLog(ownDb, { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: () => VECTORS_NOW });
    const wanted = anEvent.bind(undefined, { resource: { name: 'wanted' } });
    await appendTo(log, [wanted(), wanted(), wanted(), wanted(), ...someEvents(400), wanted(), ...someEvents(20)]);
    await ask(ownDb, {});
    const term = termOf(['name', 'wanted']);
    await ownDb.query(
      'insert into audit_term (term, seq) select $1, seq from audit_entry where true on conflict do nothing',
      [term],
    );

    const pages: number[][] = [];
    for (let cursor: string | undefined = ''; cursor !== undefined;) {
      const page: EntryAnswer = await ask(ownDb, { name: 'wanted', limit: 2, cursor });
      pages.push(page.items.map(({ seq }) => seq));
      cursor = page.nextCursor;
    }
    expect(pages).toEqual([[404, 3], [2, 1], [0]]);
    const { items } = await ask(ownDb, { name: 'wanted', limit: 3, order: 'oldest', fromSeq: 2 });
    expect(items.map(({ seq }) => seq)).toEqual([2, 3, 404]);
    await ownDb.close();
    await own.remove();
  });

  test('are found again when the index is made again', async () => {
    await db.query('update audit_indexed set size = 0');
    const before = await db.query('select count(*) as n from audit_term');
    expect((await ask(db, { vault: 'rare' })).items.map(({ seq }) => seq)).toEqual([0]);
    expect(await db.query('select size from audit_indexed')).toEqual([{ size: SIZE }]);
    expect(await db.query('select count(*) as n from audit_term')).toEqual(before);
  });
});

async function fill(db: Db): Promise<void> {
  const log = await openLog(db, { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: () => VECTORS_NOW });
  const rare = { id: 'rare-id', type: 'user' as const, name: 'rare' };
  await appendTo(log, [anEvent({ actor: rare, action: 'rare.read', decision: 'deny', resource: { vault: 'rare' } })]);
  for (let left = SIZE - 1; left > 0; left -= 500) await appendTo(log, someEvents(Math.min(left, 500)));
  await ask(db, {});
  if (db.engine === 'postgres') await db.query('analyze');
}

/** The same database, which notes what is asked. */
function watch(db: Db): { asked: { sql: string; params: SqlValue[] | undefined }[]; watched: Db } {
  const asked: { sql: string; params: SqlValue[] | undefined }[] = [];
  return { asked, watched: { ...db, query: (sql, params) => (asked.push({ sql, params }), db.query(sql, params)) } };
}

/** Returns the plan of the engine for each statement of a query. */
async function plansOf(db: Db, query: Record<string, unknown>): Promise<string[]> {
  await ask(db, {});
  const { asked, watched } = watch(db);
  await ask(watched, query);
  const explain = db.engine === 'sqlite' ? 'explain query plan' : 'explain';
  const reads = asked.filter(({ sql }) => !/audit_(head|indexed) where/.test(sql));
  expect(reads).not.toHaveLength(0);
  return Promise.all(
    reads.map(async ({ sql, params }) => {
      const rows = await db.query<Record<string, unknown>>(`${explain} ${sql}`, params);
      return rows.map((row) => row['detail'] ?? row['QUERY PLAN']).join('\n');
    }),
  );
}
