import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Db, Transaction } from '@cardea/storage/db';
import { migrate, readMigrations } from '@cardea/storage/migrate';
import { openPostgres } from '@cardea/storage/postgres';
import { openSqlite } from '@cardea/storage/sqlite';
import { testDatabase } from '@cardea/testkit/servers';
import { removeCredentials } from '@cardea/vault/applications/credential-expiry';
import { removeEventsBefore } from '@cardea/vault/events/event-store';
import { removeMessagesBefore } from '@cardea/vault/kek-webhook/message-store';
import { migrationsFolder } from '@cardea/vault/migrations';
import { findOldestUnsent, listUnsent } from '@cardea/vault/outbox';
import { removeEndedSessions, removeExpiredSessions } from '@cardea/vault/users/session-store';
import { removeFailures } from '@cardea/vault/users/throttle';
import { findOldestDeletedVault, listDeletedVaults } from '@cardea/vault/vaults/deleted-vault-store';
import {
  findDueDelivery,
  findOldestDelivery,
  listAwaitedEndpoints,
  listOverdueDeliveries,
  removeDeliveriesBefore,
} from '@cardea/vault/webhooks/delivery-store';
import { Client } from 'pg';
import { expectIndexed, explainAll, explainPostgres, explainSqlite, plansOf, recording } from '../secrets/plans.ts';
import type { Asked, Explain } from '../secrets/plans.ts';
import { NOW, addOldRows } from './old-rows.ts';

const LIMIT = 100;

/** What the jobs list. tests/secrets/sweep-plans.test.ts has the lists of timed work. */
const others: Record<string, (db: Db) => Promise<unknown>> = {
  'the outbox': (db) => listUnsent(db, { before: NOW, limit: LIMIT }),
  'the oldest event in the outbox': (db) => findOldestUnsent({ db, now: () => new Date(NOW) }),
  'deleted vaults': (db) => listDeletedVaults(db, LIMIT),
  'the oldest deleted vault': (db) => findOldestDeletedVault(db),
  'the next delivery to a receiver': (db) => findDueDelivery(db, { endpoint: 'endpoint-1', now: NOW }),
  'the oldest due delivery': (db) => findOldestDelivery(db, NOW),
  'the receivers that deliveries wait for': (db) => listAwaitedEndpoints(db),
  'deliveries to give up': (db) => listOverdueDeliveries(db, { endpoint: 'endpoint-1', now: NOW, limit: LIMIT }),
  'no deliveries to give up': (db) => listOverdueDeliveries(db, { endpoint: 'endpoint-1', now: 0, limit: LIMIT }),
};

/** How the jobs remove rows that nobody needs any more. */
const removals: Record<string, (tx: Transaction) => Promise<number>> = {
  'expired credentials': (tx) => removeCredentials(tx, { before: NOW, limit: LIMIT }),
  'expired sessions': (tx) => removeExpiredSessions(tx, { before: NOW, limit: LIMIT }),
  'ended sessions': (tx) => removeEndedSessions(tx, { before: NOW, limit: LIMIT }),
  'failed sign-ins': (tx) => removeFailures(tx, { now: NOW, limit: LIMIT }),
  events: (tx) => removeEventsBefore(tx, { before: NOW, limit: LIMIT }),
  'received webhooks': (tx) => removeMessagesBefore(tx, { before: NOW, limit: LIMIT }),
  'delivered webhooks': (tx) => removeDeliveriesBefore(tx, { state: 'delivered', before: NOW, limit: LIMIT }),
  'dead webhooks': (tx) => removeDeliveriesBefore(tx, { state: 'dead', before: NOW, limit: LIMIT }),
};

// Nothing runs ANALYZE on a SQLite file, so plans must be good without statistics, and stay good with them.
describe.each([
  ['sqlite', 'not analysed'],
  ['sqlite', 'analysed'],
  ['postgres', 'analysed'],
] as const)('on %s, %s, with many old rows,', (engine, analysed) => {
  let db: Db;
  let explain: Explain;
  let client: Client | undefined;

  beforeAll(async () => {
    if (engine === 'sqlite') {
      db = openSqlite(':memory:');
      explain = explainSqlite(db);
    } else {
      const url = await testDatabase();
      db = openPostgres(url);
      client = new Client({ connectionString: url });
      await client.connect();
      explain = explainPostgres(client);
    }
    await migrate(db, await readMigrations(migrationsFolder, engine));
    await addOldRows(db);
    if (analysed === 'analysed') await db.query('analyze');
  });
  afterAll(async () => {
    await client?.end();
    await db.close();
  });

  test.each(Object.entries(others))('%s: read from an index in its order', async (_what, work) => {
    const plans = await plansOf(db, explain, work);
    expect(plans.length).toBeGreaterThan(0);
    for (const plan of plans) expectIndexed(plan, { rowsMax: 2 * LIMIT });
  });

  test.each(Object.entries(removals))(
    '%s are removed in pages, found in an index in its order',
    async (_what, work) => {
      const asked: Asked[] = [];
      const removing = db.transaction(async (tx) => {
        expect(await work(recording(tx, asked))).toBe(LIMIT);
        throw new Undone();
      });
      await expect(removing).rejects.toBeInstanceOf(Undone);
      const plans = await explainAll(explain, asked);
      expect(plans.length).toBeGreaterThan(0);
      // Without knowing the limit, PostgreSQL expects to remove thousands of rows. It keeps no such plan: it costs more.
      for (const plan of plans.filter(({ isGeneric }) => !isGeneric)) expectIndexed(plan, { rowsMax: 4 * LIMIT });
    },
  );
});

/** Ends a transaction that must leave nothing behind. */
class Undone extends Error {
  override name = 'Undone';
}
