import type { DekRef } from '@cardea/contracts/kek-api';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { destroyDek, listRetiringDeks } from '../deks/dek-store.ts';
import { allResealables } from '../resealables.ts';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import { requireRunning, rotationCaller } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { vaultResource } from './vault-resource.ts';

/**
 * Destroys the retiring DEKs older than `dek` that seal nothing any more. Returns the versions of those that are left.
 * The check and the destruction are one serializable transaction. A write that began under a DEK has committed before
 * the DEK was retired: see `renewDek`. Data of the system has no vault, and its writes are serializable too.
 */
export async function destroyUnusedDeks(ctx: VaultContext, run: RotationRun, dek: DekRef): Promise<number[]> {
  const { vaultId } = dek;
  let destroyed = 0;
  for (const dekVersion of await listRetiringDeks(ctx.db, dek)) {
    destroyed += await destroyIfUnused(ctx, run, { vaultId, dekVersion });
  }
  if (destroyed > 0) {
    ctx.deks.forget(vaultId);
    ctx.keyMaterials.forget(vaultId);
  }
  return listRetiringDeks(ctx.db, dek);
}

function destroyIfUnused(ctx: VaultContext, { rotationId }: RotationRun, ref: DekRef): Promise<number> {
  const work: DueChange = async (tx) => {
    await requireRunning(tx, rotationId);
    if ((await isUsed(tx, ref)) || !(await destroyDek(tx, ref))) return [];
    const resource = await vaultResource(tx, ref.vaultId);
    return [{ action: 'dek.destroy', rule: 'rotation', resource, dekVersion: ref.dekVersion }];
  };
  return changeDue(ctx, work, rotationCaller(rotationId));
}

async function isUsed(tx: Transaction, ref: DekRef): Promise<boolean> {
  for (const resealable of allResealables) if (await resealable.isUsed(tx, ref)) return true;
  return false;
}
