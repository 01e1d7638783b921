import type { Caller } from '@cardea/contracts/caller';
import type { JobRun } from '@cardea/jobs/queue';
import type { Transaction } from '@cardea/storage/db';
import { SECOND_MS } from '@cardea/contracts/durations';
import { systemCaller } from '../system-caller.ts';
import { findRotation } from './rotation-store.ts';
import type { VaultPace } from './vault-pace.ts';

/** How long a vault is claimed. Each page renews the claim. */
export const CLAIM_MS = 60 * SECOND_MS;

/** One run of the job of a rotation. */
export interface RotationRun {
  rotationId: string;
  /** Names this run in its claims. */
  runId: string;
  job: JobRun;
  pace: VaultPace;
}

/** The rotation was paused or cancelled, or another run has taken over the vault. This run does no more. */
export class RotationStopped extends Error {
  override name = 'RotationStopped';
}

/**
 * Makes sure that a page commits only while its rotation runs.
 * @throws RotationStopped, and then the page changes nothing
 */
export async function requireRunning(tx: Transaction, rotationId: string): Promise<void> {
  const rotation = await findRotation(tx, rotationId);
  if (rotation?.state !== 'running') throw new RotationStopped(`the rotation is ${rotation?.state ?? 'deleted'}`);
}

/** Cardea itself, when it works on a rotation. Its records have the id of the rotation as their request id. */
export function rotationCaller(rotationId: string): Caller {
  return { ...systemCaller, requestId: rotationId };
}
