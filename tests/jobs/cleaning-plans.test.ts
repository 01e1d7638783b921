import { describe, expect, test } from '@jest/globals';
import type { Db, Transaction } from '@cardea/storage/db';
import { removeCredentials } from '@cardea/vault/applications/credential-expiry';
import { removeEventsBefore } from '@cardea/vault/events/event-store';
import { removeMessagesBefore } from '@cardea/vault/kek-webhook/message-store';
import { findOldestUnsent, listUnsent } from '@cardea/vault/outbox';
import { removeEndedSessions, removeExpiredSessions } from '@cardea/vault/users/session-store';
import { removeFailures } from '@cardea/vault/users/sign-in-failure-store';
import { findOldestDeletedVault, listDeletedVaults } from '@cardea/vault/vaults/deleted-vault-store';
import {
  findDueDelivery,
  findOldestDelivery,
  listAwaitedEndpoints,
  listOverdueDeliveries,
  removeDeliveriesBefore,
} from '@cardea/vault/webhooks/delivery-store';
import { engines, expectIndexed, plansOf, plansOfTransaction, usePlannedDb } from '../secrets/plans.ts';
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

describe.each(engines)('on %s, %s, with many old rows,', (engine, analysed) => {
  const planned = usePlannedDb({ engine, analysed, fill: addOldRows });

  test.each(Object.entries(others))('%s: read from an index in its order', async (_what, work) => {
    const plans = await plansOf(planned, work);
    expect(plans.length).toBeGreaterThan(0);
    for (const plan of plans) expectIndexed(plan, { rowsMax: 2 * LIMIT });
  });

  test.each(Object.entries(removals))(
    '%s are removed in pages, found in an index in its order',
    async (_what, work) => {
      const { value: removed, plans } = await plansOfTransaction(planned, work);
      expect(removed).toBe(LIMIT);
      expect(plans.length).toBeGreaterThan(0);
      // Without knowing the limit, PostgreSQL expects to remove thousands of rows. It keeps no such plan: it costs more.
      for (const plan of plans.filter(({ isGeneric }) => !isGeneric)) expectIndexed(plan, { rowsMax: 4 * LIMIT });
    },
  );
});
