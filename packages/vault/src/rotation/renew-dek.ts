import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { findLastDekVersion, findNewestDekVersion, insertDek, retireOlderDeks } from '../deks/dek-store.ts';
import { wrapNewDek } from '../deks/new-dek.ts';
import { addEvents } from '../events/events.ts';
import { allResealables } from '../resealables.ts';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import { vaultLock } from '../locks.ts';
import { finishVault } from './finish-vault.ts';
import { RotationStopped, requireRunning, rotationCaller } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { setRunning } from './rotation-vault-store.ts';
import { vaultResource } from './vault-resource.ts';

/**
 * Gives a vault a new DEK. From the commit on, it seals every new value, and the older DEKs only open values. A vault
 * that was deleted is finished instead.
 * @throws AppError `sealed`, `unavailable`; RotationStopped
 */
export async function renewDek(ctx: VaultContext, run: RotationRun, vaultId: string): Promise<void> {
  for (;;) {
    const last = await findLastDekVersion(ctx.db, vaultId);
    if (last === undefined) return finishVault(ctx, run, { vaultId, failed: 0 });
    const ref = { vaultId, dekVersion: last + 1 };
    const wrapped = await wrapNewDek(ctx, ref);
    if (await addDek(ctx, run, ref, wrapped)) return;
  }
}

// False if another rotation was faster, or if the vault was deleted. Counts the rows outside of the transaction: on
// PostgreSQL, a transaction that reads many rows conflicts with every write.
async function addDek(ctx: VaultContext, run: RotationRun, ref: DekRef, wrapped: WrappedDek): Promise<boolean> {
  const { vaultId, dekVersion } = ref;
  const { kekVersion } = wrapped;
  const total = await countOlder(ctx.db, ref);
  const work: DueChange = async (tx, now) => {
    // A write that has begun under an older DEK commits first. One that begins later finds the new DEK.
    await tx.lock(vaultLock(vaultId));
    await requireRunning(tx, run.rotationId);
    if ((await findLastDekVersion(tx, vaultId)) !== dekVersion - 1) return [];
    if ((await findNewestDekVersion(tx, vaultId)) === undefined) return [];
    await insertDek(tx, ref, wrapped, now);
    await retireOlderDeks(tx, ref);
    if (!(await setRunning(tx, run, { vaultId, dekVersion, total }))) throw new RotationStopped('the claim was lost');
    await addEvents(ctx, tx, [{ vaultId, kind: 'dek.rotated', payload: { dekVersion }, at: now }]);
    const resource = await vaultResource(tx, vaultId);
    return [{ action: 'dek.rotate', rule: 'rotation', resource, dekVersion, kekVersion }];
  };
  return (await changeDue(ctx, work, rotationCaller(run.rotationId))) > 0;
}

async function countOlder(db: Queryable, dek: DekRef): Promise<number> {
  let total = 0;
  for (const resealable of allResealables) total += await resealable.countOlder(db, dek);
  return total;
}
