import { EntryQuery } from '@cardea/contracts/audit-api';
import type { Db, Queryable, SqlValue } from '@cardea/storage/db';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { listEntries } from '../src/read/entries.ts';
import { parseEntry } from '../src/entry-row.ts';
import { readEntryBytes } from '../src/entry-store.ts';
import { openLog } from '../src/append/log.ts';
import { auditDatabase, engines } from './audit-database.ts';
import type { AuditDatabase } from './audit-database.ts';
import { ORIGIN, VECTORS_NOW, anEvent, appendTo, someEvents } from './test-log.ts';

const SIZE = 3_000;
const PRIMARY_KEY = { sqlite: 'INTEGER PRIMARY KEY', postgres: 'audit_entry_pkey' };

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
      const actor = i % 3 === 0 ? { id: 'billing', type: 'application' as const } : undefined;
      await appendTo(log, [
        anEvent({
          ...(actor ? { actor } : {}),
          action: i % 2 === 0 ? 'secret.read' : 'secret.write',
          decision: i % 4 === 0 ? 'deny' : 'allow',
          resource: i < 10 ? { vault: i < 6 ? 'payments' : 'mail' } : { user: 'bob' },
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
    const { items, nextCursor } = await listEntries(db, EntryQuery.parse(query));
    return { seqs: items.map((item) => item.seq), nextCursor };
  }

  test('come newest first, unchanged', async () => {
    const { items } = await listEntries(db, EntryQuery.parse({}));

    expect(items.map((item) => item.seq)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    expect(items[0]).toMatchObject({
      log: ORIGIN,
      writtenAt: '2026-11-22T06:38:31.000000Z',
      event: { action: 'secret.write' },
    });
  });

  test('come in pages without a gap or a repetition', async () => {
    const seqs: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await list({ limit: 5, ...(cursor === undefined ? {} : { cursor }) });
      seqs.push(...page.seqs);
      cursor = page.nextCursor;
    } while (cursor !== undefined);

    expect(seqs).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  });

  test.each([
    [{ vault: 'payments' }, [5, 4, 3, 2, 1, 0]],
    [{ vault: 'payments', decision: 'deny' }, [4, 0]],
    [{ vault: 'mail', action: 'secret.read', actor: 'alice' }, [8]],
    [{ actor: 'billing' }, [9, 6, 3, 0]],
    [{ actor: 'alice-id' }, [11, 10, 8, 7, 5, 4, 2, 1]],
    [{ actor: 'alice' }, [11, 10, 8, 7, 5, 4, 2, 1]],
    [{ actor: 'alice', action: 'secret.write', decision: 'allow' }, [11, 7, 5, 1]],
    [{ action: 'secret.read' }, [10, 8, 6, 4, 2, 0]],
    [{ action: 'secret.read', decision: 'deny' }, [8, 4, 0]],
    [{ decision: 'deny' }, [8, 4, 0]],
    [{ decision: 'allow' }, [11, 10, 9, 7, 6, 5, 3, 2, 1]],
    [{ vault: 'nowhere' }, []],
    [{ from: '2026-11-22T06:36:31Z' }, [11, 10, 9]],
    [{ to: '2026-11-22T06:29:31.000Z' }, [1, 0]],
    [{ from: '2026-11-22T06:28:31Z', to: '2026-11-22T06:30:31.000000Z', actor: 'alice' }, [2, 1]],
    [{ from: '2027-01-01T00:00:00Z' }, []],
    [{ from: '2020-01-01T00:00:00Z', limit: 2 }, [11, 10]],
    [{ to: '2020-01-01T00:00:00Z' }, []],
    [{ to: '2027-01-01T00:00:00Z', decision: 'deny', limit: 2 }, [8, 4]],
    [{ cursor: '4', action: 'secret.read' }, [2, 0]],
  ])('that match %j are found', async (query, expected) => {
    expect((await list(query)).seqs).toEqual(expected);
  });
});

test.each(engines)('an empty log has no entries at any time, on %s', async (engine) => {
  const database = await auditDatabase(engine);
  const db = database.open();
  const query = EntryQuery.parse({ from: '2020-01-01T00:00:00Z', to: '2030-01-01T00:00:00Z' });

  expect(await listEntries(db, query)).toEqual({ items: [] });
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
      const { items } = await listEntries(db, EntryQuery.parse({ from: timeOf(seq), to: timeOf(seq + 1) }));
      expect(items.map((item) => item.seq)).toEqual([seq]);
    }
    const last = await listEntries(db, EntryQuery.parse({ from: timeOf(SIZE - 1) }));
    expect(last.items.map((item) => item.seq)).toEqual([SIZE - 1]);
  });

  test.each([
    [{ vault: 'rare' }, 'audit_entry_vault'],
    [{ vault: 'rare', actor: 'rare' }, 'audit_entry_vault'],
    [{ actor: 'rare-id' }, 'audit_entry_actor_id'],
    [{ actor: 'rare' }, 'audit_entry_actor_name'],
    [{ action: 'rare.read' }, 'audit_entry_action'],
    [{ decision: 'deny' }, 'audit_entry_deny'],
    [{ decision: 'allow' }, PRIMARY_KEY[engine]],
    [{ from: '2026-11-22T06:27:31Z', to: '2026-11-22T06:27:32Z' }, PRIMARY_KEY[engine]],
  ])('that match %j are found by %s, and none by reading the whole log', async (query, index) => {
    const plans = await plansOf(db, query);

    for (const plan of plans) expect(plan).not.toMatch(/seq scan on audit_entry|scan audit_entry(?! using)/i);
    expect(plans.at(-1)).toContain(index);
    expect(plans).toHaveLength('from' in query ? 3 : 1);
    for (const plan of plans.slice(0, -1)) expect(plan).toContain(PRIMARY_KEY[engine]);
  });
});

async function fill(db: Db): Promise<void> {
  const log = await openLog(db, { origin: ORIGIN, publicKey: Buffer.alloc(32, 7), now: () => VECTORS_NOW });
  const rare = { id: 'rare-id', type: 'user' as const, name: 'rare' };
  await appendTo(log, [anEvent({ actor: rare, action: 'rare.read', decision: 'deny', resource: { vault: 'rare' } })]);
  for (let left = SIZE - 1; left > 0; left -= 500) await appendTo(log, someEvents(Math.min(left, 500)));
  if (db.engine === 'postgres') await db.query('analyze audit_entry');
}

/** Returns the plan of the engine for each statement of a query. */
async function plansOf(db: Db, query: Record<string, unknown>): Promise<string[]> {
  const asked: { sql: string; params: SqlValue[] | undefined }[] = [];
  const watched: Queryable = { query: (sql, params) => (asked.push({ sql, params }), db.query(sql, params)) };
  await listEntries(watched, EntryQuery.parse(query));
  const explain = db.engine === 'sqlite' ? 'explain query plan' : 'explain';
  return Promise.all(
    asked.map(async ({ sql, params }) => {
      const rows = await db.query<Record<string, unknown>>(`${explain} ${sql}`, params);
      return rows.map((row) => row['detail'] ?? row['QUERY PLAN']).join('\n');
    }),
  );
}
