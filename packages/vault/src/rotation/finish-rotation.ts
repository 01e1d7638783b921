import { changesBetween } from '@cardea/contracts/audit-changes';
import type { VaultContext } from '../context.ts';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import { rotationCaller } from './rotation-run.ts';
import { endRotation, findRotation } from './rotation-store.ts';
import { countsOf } from './rotation-counts.ts';
import { hasUnfinishedVault, removeVaults } from './rotation-vault-store.ts';

/** Ends a rotation that has nothing left to do. Does nothing if it does not run any more. */
export async function finishRotation(ctx: VaultContext, rotationId: string): Promise<void> {
  const work: DueChange = async (tx, now) => {
    const rotation = await findRotation(tx, rotationId);
    if (rotation?.state !== 'running' || (await hasUnfinishedVault(tx, rotationId))) return [];
    const counts = await countsOf(tx, rotation);
    await removeVaults(tx, rotationId);
    await endRotation(tx, { id: rotationId, state: 'finished', counts, at: now });
    const reason = counts.failed > 0 ? `${counts.failed} failed` : undefined;
    const resource = { name: rotationId, count: counts.done };
    const changes = changesBetween({ state: rotation.state }, { state: 'finished' });
    return [{ action: 'rotation.finish', rule: 'rotation', resource, reason, changes }];
  };
  await changeDue(ctx, work, rotationCaller(rotationId));
}
