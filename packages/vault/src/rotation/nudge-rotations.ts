import type { VaultContext } from '../context.ts';

/**
 * Asks for a run of the schedule now, to begin the work of rotations that have just started. Call it after the commit.
 * It waits for nothing: if the queue does not take the job, the schedule finds the rotations within a minute.
 */
export function nudgeRotations({ jobs }: Pick<VaultContext, 'jobs'>): void {
  jobs.add('rotation.schedule', {}, { key: 'nudge' }).catch(() => undefined);
}
