import type { Audited } from '@cardea/contracts/audited';
import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { nudgeRotations } from './nudge-rotations.ts';
import { countsOf } from './rotation-counts.ts';
import {
  endRotation,
  findRotation,
  pauseRotation as setPaused,
  resumeRotation as setRunning,
} from './rotation-store.ts';
import type { RotationRow, RotationState } from './rotation-store.ts';
import { removeVaults } from './rotation-vault-store.ts';
import { rotationNotThere, toRotation } from './rotations.ts';
import type { Rotation } from './rotations.ts';

/** Stops a running rotation until it is resumed. The page that is under way either commits before, or not at all. */
export function pauseRotation(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<Rotation>> {
  const work = (tx: Transaction, at: number) => setPaused(tx, { id, at });
  return steer(ctx, caller, { id, action: 'rotation.pause', from: ['running'], work });
}

/** Lets a paused rotation go on. */
export function resumeRotation(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<Rotation>> {
  const work = (tx: Transaction, at: number) => setRunning(tx, { id, at });
  return steer(ctx, caller, { id, action: 'rotation.resume', from: ['paused'], work });
}

/** Ends a rotation. What it has resealed stays. The older keys open what is left, and the next rotation reseals it. */
export function cancelRotation(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<Rotation>> {
  const work = async (tx: Transaction, at: number, rotation: RotationRow) => {
    const counts = await countsOf(tx, rotation);
    await removeVaults(tx, id);
    await endRotation(tx, { id, state: 'cancelled', counts, at });
  };
  return steer(ctx, caller, { id, action: 'rotation.cancel', from: ['running', 'paused'], work });
}

interface Steering {
  id: string;
  action: 'rotation.pause' | 'rotation.resume' | 'rotation.cancel';
  /** The states in which this is possible. */
  from: RotationState[];
  work(tx: Transaction, at: number, rotation: RotationRow): Promise<void>;
}

// @throws AppError `access_denied`, `not_found`; `conflict` in another state
async function steer(
  ctx: VaultContext,
  caller: Caller,
  { id, action, from, work }: Steering,
): Promise<Audited<Rotation>> {
  const { rule } = authorizeSystem(ctx, caller, 'rotation.manage');
  const steered = await changed(ctx, caller, async (tx) => {
    const before = await findRotation(tx, id);
    if (!before) throw rotationNotThere();
    if (!from.includes(before.state)) {
      throw new AppError('conflict', `the rotation is ${before.state}`, { rule: 'rotation-state' });
    }
    await work(tx, ctx.now().getTime(), before);
    const after = (await findRotation(tx, id))!;
    const changes = changesBetween({ state: before.state }, { state: after.state });
    return { value: after, facts: { action, rule, resource: { name: id }, changes } };
  });
  // A DEK rotation may have waited for this one.
  nudgeRotations(ctx);
  const rotation = await toRotation(ctx, steered.value);
  return steered.map(() => rotation);
}
