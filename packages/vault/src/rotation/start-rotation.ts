import type { Transaction } from '@cardea/storage/db';
import { MINUTE_MS } from '../durations.ts';
import { findLastRotation, findOpenKekRotation, findRotation, insertRotation } from './rotation-store.ts';

/** At most one KEK rotation starts in this time. */
const KEK_ROTATION_EVERY_MS = 5 * MINUTE_MS;

/**
 * Starts a KEK rotation as part of a transaction. The job `rotation.run` does its work after the commit. The caller
 * records the start.
 *
 * At most one KEK rotation is running or paused, and at most one starts within 5 minutes. Otherwise nothing starts, and
 * the answer is the id of the open rotation, or of the last one. A repeated `id` starts nothing either.
 */
export async function startKekRotation(
  tx: Transaction,
  request: { id: string; startedBy: string; now: Date },
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
