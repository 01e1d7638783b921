import { changesBetween } from '@cardea/contracts/audit-changes';
import type { ComparedFields } from '@cardea/contracts/audit-changes';
import type { Transaction } from '@cardea/storage/db';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { findLastRotation, findOpenKekRotation, findRotation, insertRotation } from './rotation-store.ts';
import type { RotationKind } from './rotation-store.ts';
import { addAllVaults, addVault, addWrittenVaults } from './rotation-vault-store.ts';

/** At most one KEK rotation starts in this time. */
const KEK_ROTATION_EVERY_MS = 5 * MINUTE_MS;

/** A rotation to be started. */
export interface StartRequest {
  /** A UUID, the id of the new rotation. */
  id: string;
  /** A principal: `user:<id>`. */
  startedBy: string;
  now: Date;
}

/**
 * Starts a KEK rotation as part of a transaction. The job `rotation.run` does its work after the commit: see
 * `nudgeRotations`. The caller records the start.
 *
 * At most one KEK rotation is running or paused, and at most one starts within 5 minutes. Otherwise nothing starts, and
 * the answer is the id of the open rotation, or of the last one. A repeated `id` starts nothing either.
 */
export async function startKekRotation(
  tx: Transaction,
  request: StartRequest,
): Promise<{ id: string; started: boolean }> {
  const startedAt = request.now.getTime();
  const found =
    (await findRotation(tx, request.id)) ?? (await findOpenKekRotation(tx)) ?? (await findRecent(tx, startedAt));
  if (found) return { id: found.id, started: false };
  const { id, startedBy } = request;
  if (await insertRotation(tx, { id, kind: 'kek', vaultId: null, startedAt, startedBy })) return { id, started: true };
  throw new Error('a KEK rotation is open that this transaction did not see');
}

// The clock may have been set back: a rotation of the far future must not hold up others until that time has come.
async function findRecent(tx: Transaction, now: number): Promise<{ id: string } | undefined> {
  const last = await findLastRotation(tx, 'kek');
  return last && Math.abs(now - last.started_at) < KEK_ROTATION_EVERY_MS ? last : undefined;
}

/** The changes of a rotation that has just started. */
export function rotationStarted(kind: RotationKind): ComparedFields {
  return changesBetween({}, { kind, state: 'running' });
}

/** The vaults of a DEK rotation: one by its id, all with the system's own chain, or those written since their last. */
export type DekScope = { vaultId: string } | 'all' | 'written';

/** Starts a DEK rotation as part of a transaction, like `startKekRotation`. Any number of them may be open. */
export async function startDekRotation(
  tx: Transaction,
  { id, startedBy, now }: StartRequest,
  scope: DekScope,
): Promise<void> {
  const vaultId = typeof scope === 'object' ? scope.vaultId : null;
  const inserted = await insertRotation(tx, { id, kind: 'dek', vaultId, startedAt: now.getTime(), startedBy });
  if (!inserted) throw new Error('the id of the rotation is taken');
  if (vaultId !== null) await addVault(tx, id, vaultId);
  else await (scope === 'all' ? addAllVaults(tx, id) : addWrittenVaults(tx, id));
}
