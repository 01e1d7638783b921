import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EntryQuery } from '@cardea/contracts/audit-api';
import type { Db } from '@cardea/storage/db';
import { listEntries } from '../src/entries.ts';
import { openLog } from '../src/log.ts';
import type { AuditDatabase } from './audit-database.ts';
import { auditDatabase, engines } from './audit-database.ts';
import { ORIGIN, VECTORS_NOW, anEvent, appendTo } from './test-log.ts';

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

  test('come newest first, as they were appended', async () => {
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
    [{ to: '2027-01-01T00:00:00Z', decision: 'deny', limit: 2 }, [8, 4]],
    [{ cursor: '4', action: 'secret.read' }, [2, 0]],
  ])('that match %j are found', async (query, expected) => {
    expect((await list(query)).seqs).toEqual(expected);
  });
});
