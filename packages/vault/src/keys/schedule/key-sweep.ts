import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import { DAY_MS } from '@cardea/contracts/durations';
import type { JobRun } from '@cardea/jobs/queue';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../../context.ts';
import { changeSealed } from '../../deks/change-sealed.ts';
import { vaultLock } from '../../locks.ts';
import type { ChangeOutcome } from '../../record.ts';
import { removePages } from '../../sweep.ts';
import type { DueWork } from '../../sweep.ts';
import { systemCaller } from '../../system-caller.ts';
import { withNewMaterial } from '../add-key-version.ts';
import { lockKey } from '../key-store.ts';
import { removeOldKeyUses } from '../key-use-store.ts';
import { dayOf } from '../key-uses.ts';
import { keyResource } from '../key.ts';
import { addNewestVersion } from '../rotate-key.ts';
import { findScheduledKey, listKeysToDestroy, listKeysToRotate, removeKey } from './key-sweep-store.ts';
import type { DueKey, ScheduledKey } from './key-sweep-store.ts';

/** For how long the days of uses are kept. `last30Days` looks at the newest of them. */
const USES_KEPT_DAYS = 31;

/** Makes the next version of keys after their period, or because the newest has encrypted very many messages. */
export const keyRotations: DueWork<DueKey> = {
  list: (ctx, page) => listKeysToRotate(ctx.db, page),
  work: (ctx, items) => workOnEach(ctx, items, rotateIfDue),
};

/** Destroys deleted keys once nobody has restored them in time. */
export const keyDestructions: DueWork<DueKey> = {
  list: (ctx, page) => listKeysToDestroy(ctx.db, page),
  work: (ctx, items) => workOnEach(ctx, items, destroyIfDue),
};

/** Deletes old counts of uses. */
export async function sweepKeyUses(ctx: VaultContext, run: JobRun): Promise<void> {
  const day = dayOf(ctx.now().getTime() - USES_KEPT_DAYS * DAY_MS);
  await removePages(ctx, run, (tx, limit) => removeOldKeyUses(tx, { day, limit }));
}

// One transaction for each key: material is made outside of it, and RSA takes its time.
async function workOnEach(
  ctx: VaultContext,
  items: DueKey[],
  work: (ctx: VaultContext, key: ScheduledKey) => Promise<boolean>,
): Promise<number> {
  let done = 0;
  for (const { id } of items) {
    const key = await findScheduledKey(ctx.db, id);
    if (key && (await work(ctx, key))) done += 1;
  }
  return done;
}

function rotateIfDue(ctx: VaultContext, scheduled: ScheduledKey): Promise<boolean> {
  const vault = vaultOf(scheduled);
  return withNewMaterial(ctx, systemCaller, scheduled.algorithm, (material) =>
    changeIfDue(ctx, scheduled, async (tx, now) => {
      const before = await lockKey(tx, { vaultId: vault.id, name: scheduled.name });
      const isDue = before?.id === scheduled.id && before.delete_at === null && (before.rotate_at ?? Infinity) <= now;
      if (!isDue) throw new NothingDue();
      const rotated = await addNewestVersion(ctx, tx, { vault, before, material, at: now, by: 'service:cardea' });
      return { value: undefined, facts: { ...rotated.facts, rule: 'key-rotation-due' } };
    }),
  );
}

function destroyIfDue(ctx: VaultContext, scheduled: ScheduledKey): Promise<boolean> {
  const vault = vaultOf(scheduled);
  return changeIfDue(ctx, scheduled, async (tx, now) => {
    const key = await lockKey(tx, { vaultId: vault.id, name: scheduled.name });
    if (key?.id !== scheduled.id || (key.delete_at ?? Infinity) > now) throw new NothingDue();
    await removeKey(tx, key.id);
    const changes = changesBetween({ algorithm: key.algorithm }, {});
    const facts = {
      action: 'key.destroy',
      rule: 'key-pending-over',
      resource: keyResource(vault, key),
      changes,
    } as const;
    return { value: undefined, facts };
  });
}

function vaultOf({ vault_id: id, vault_name: name }: ScheduledKey): { id: string; name: string } {
  return { id, name };
}

/** Thrown in a transaction to change nothing. */
class NothingDue extends Error {
  override name = 'NothingDue';
}

async function changeIfDue(
  ctx: VaultContext,
  { vault_id: vaultId }: ScheduledKey,
  work: (tx: Transaction, now: number) => Promise<ChangeOutcome<undefined>>,
): Promise<boolean> {
  const terms = { vaultLocks: { shared: [vaultLock(vaultId)] } };
  try {
    const changed: Promise<Audited<undefined>> = changeSealed(
      ctx,
      systemCaller,
      (tx) => work(tx, ctx.now().getTime()),
      terms,
    );
    await changed;
    return true;
  } catch (error) {
    if (error instanceof NothingDue) return false;
    throw error;
  }
}
