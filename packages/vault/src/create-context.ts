import type { VaultContext } from './context.ts';
import { callerNow } from './caller-now.ts';
import { admittedKeks } from './deks/admitted-keks.ts';
import { createDekCache } from './deks/dek-cache.ts';
import { createKeyUses } from './keys/key-uses.ts';
import { createKeyMaterials } from './keys/material-cache.ts';
import { createSlowWork } from './keys/use/slow-work.ts';
import { createOutbox } from './outbox.ts';
import { createBulkTurns } from './secrets/bulk/bulk-turns.ts';
import { createLastReads } from './secrets/lifecycle/last-reads.ts';

/** What a service supplies. The rest of the context is made from it. */
export type World = Pick<
  VaultContext,
  'db' | 'keks' | 'seals' | 'audit' | 'passwords' | 'webhookSender' | 'settings' | 'jobs' | 'now' | 'steadyMs'
>;

export function createVaultContext(world: World): VaultContext {
  const { db, audit, now, steadyMs } = world;
  const keks = admittedKeks(world);
  return {
    ...world,
    keks,
    deks: createDekCache({ db, keks, audit, steadyMs }),
    keyMaterials: createKeyMaterials({ steadyMs }),
    keyUses: createKeyUses(db),
    slowWork: createSlowWork(),
    outbox: createOutbox(db),
    lastReads: createLastReads(db),
    bulkTurns: createBulkTurns(),
    room: new Map(),
    callerNow: (from, caller) => callerNow({ db: from, now }, caller),
  };
}
