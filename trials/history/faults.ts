import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@cardea/testkit/random';
import { STOPPED_DEADLINE_MS } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';

/** A service that is stopped while the load runs, and started again. */
export interface Fault {
  service: 'kek' | 'audit';
  downMs: number;
}

// Calls wait so long for an audit log that a test system has stopped, and a little. From then on they are answered 503,
// whether they were done or not.
const AUDIT_LOST_MS = STOPPED_DEADLINE_MS + 300;
const BETWEEN_MS = 500;

/** Each kind once: the key service away, the log away for a moment, the log lost. */
export const everyFault: Fault[] = [
  { service: 'kek', downMs: 300 },
  { service: 'audit', downMs: 100 },
  { service: 'audit', downMs: AUDIT_LOST_MS },
];

export function chooseFault(random: Random): Fault {
  if (random.chance(0.1)) return { service: 'audit', downMs: AUDIT_LOST_MS };
  return { service: random.pick(['kek', 'audit']), downMs: random.below(800) };
}

/** Lets the load run for a while, and then without one of the services. */
export async function disturb(system: TestSystem, { service, downMs }: Fault): Promise<void> {
  await sleep(BETWEEN_MS);
  await system.stopService(service);
  // As if its five minutes were over: otherwise the key that is here would do.
  system.vault.deks.clear();
  await sleep(downMs);
  await system.startService(service);
  await sleep(BETWEEN_MS);
}
