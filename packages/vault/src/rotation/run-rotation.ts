import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '@cardea/contracts/errors';
import { uuidv7 } from '@cardea/crypto/ids';
import type { JobRun } from '@cardea/jobs/queue';
import { DbUnavailable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { finishRotation } from './finish-rotation.ts';
import { nudgeRotations } from './nudge-rotations.ts';
import { renewDek } from './renew-dek.ts';
import { resealVault } from './reseal-vault.ts';
import { rewrapAll } from './rewrap-deks.ts';
import { CLAIM_MS, RotationStopped } from './rotation-run.ts';
import type { RotationRun } from './rotation-run.ts';
import { findRotation } from './rotation-store.ts';
import { claimVault, hasUnfinishedVault, releaseVault } from './rotation-vault-store.ts';
import type { ClaimedVault } from './rotation-vault-store.ts';
import { createVaultPace } from './vault-pace.ts';

/**
 * Works on a rotation until it is finished, paused or cancelled. Does nothing for a rotation that does not run. Several
 * runs, in any processes, may work on the same rotation: each claims a vault at a time. A run that is killed leaves its
 * claim for a minute, and everything it has committed.
 * @throws AppError `sealed`, `unavailable`; the first error of a vault, after the others are done
 */
export async function runRotation(ctx: VaultContext, rotationId: string, job: JobRun): Promise<void> {
  const rotation = await findRotation(ctx.db, rotationId);
  if (rotation?.state !== 'running') return;
  const run: RotationRun = { rotationId, runId: uuidv7(ctx.now().getTime()), job, pace: createVaultPace() };
  try {
    if (rotation.kind === 'kek') await rewrapAll(ctx, run, rotation);
    else await resealVaults(ctx, run);
  } catch (error) {
    if (!(error instanceof RotationStopped)) throw error;
  }
}

// All vaults get their new DEK first: see `claimVault`.
async function resealVaults(ctx: VaultContext, run: RotationRun): Promise<void> {
  const errors: unknown[] = [];
  for (;;) {
    run.job.signal.throwIfAborted();
    const waitMs = run.pace.waitMs();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: run.job.signal });
    const claimed = await claim(ctx, run);
    if (claimed === undefined) break;
    try {
      await workOn(ctx, run, claimed);
    } catch (error) {
      if (isFinal(error, run)) throw error;
      // The claim stays until it expires, so that this run goes on with the other vaults.
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
  if (await hasUnfinishedVault(ctx.db, run.rotationId)) return;
  await finishRotation(ctx, run.rotationId);
  // The next DEK rotation has waited for this one, and need not wait for the schedule.
  nudgeRotations(ctx);
}

function claim(ctx: VaultContext, run: RotationRun): Promise<ClaimedVault | undefined> {
  const now = ctx.now().getTime();
  return claimVault(ctx.db, run, { now, until: now + CLAIM_MS });
}

async function workOn(ctx: VaultContext, run: RotationRun, { vault_id: vaultId, state }: ClaimedVault): Promise<void> {
  try {
    if (state === 'pending') await renewDek(ctx, run, vaultId);
    else await resealVault(ctx, run, vaultId);
  } catch (error) {
    // Without a release, the claim expires by itself.
    if (isFinal(error, run)) await releaseVault(ctx.db, run, vaultId).catch(() => undefined);
    throw error;
  }
  await releaseVault(ctx.db, run, vaultId);
}

// The other vaults would fail in the same way.
function isFinal(error: unknown, { job }: RotationRun): boolean {
  if (error instanceof RotationStopped || error instanceof DbUnavailable || job.signal.aborted) return true;
  return error instanceof AppError && (error.code === 'sealed' || error.code === 'unavailable');
}
