import type { VaultContext } from './context.ts';
import { callerNow } from './caller-now.ts';
import { admittedKeks } from './deks/admitted-keks.ts';
import { createDekCache } from './deks/dek-cache.ts';
import { createOutbox } from './outbox.ts';
import { createLastReads } from './secrets/lifecycle/last-reads.ts';

/** What a service supplies. The rest of the context is made from it. */
export type World = Pick<
  VaultContext,
  'db' | 'keks' | 'seals' | 'audit' | 'passwords' | 'webhookSender' | 'settings' | 'jobs' | 'now'
>;

export function createVaultContext(world: World): VaultContext {
  const { db, audit, now } = world;
  const keks = admittedKeks(world);
  return {
    ...world,
    keks,
    deks: createDekCache({ db, keks, audit, now }),
    outbox: createOutbox(db),
    lastReads: createLastReads(db),
    callerNow: (from, caller) => callerNow({ db: from, now }, caller),
  };
}
