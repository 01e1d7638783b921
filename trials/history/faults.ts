import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@cardea/testkit/random';
import { STOPPED_DEADLINE_MS } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';

/** A service that is stopped and started again while the load runs. */
export interface Fault {
  service: 'kek' | 'audit';
  downMs: number;
}

// A little longer than calls wait for an audit log that a test system has stopped. After that they are answered 503,
// whether they were done or not.
const AUDIT_LOST_MS = STOPPED_DEADLINE_MS + 300;
const BETWEEN_MS = 500;

/** Each kind of fault once: kek-service stops, audit-service stops for a moment, audit-service stops for too long. */
export const everyFault: Fault[] = [
  { service: 'kek', downMs: 300 },
  { service: 'audit', downMs: 100 },
  { service: 'audit', downMs: AUDIT_LOST_MS },
];

export function chooseFault(random: Random): Fault {
  if (random.chance(0.1)) return { service: 'audit', downMs: AUDIT_LOST_MS };
  return { service: random.pick(['kek', 'audit']), downMs: random.below(800) };
}

/** Lets the load run for a while, then stops a service and starts it again. */
export async function disturb(system: TestSystem, { service, downMs }: Fault): Promise<void> {
  await sleep(BETWEEN_MS);
  await system.stopService(service);
  // Empties the cache, as after its five minutes. With a cached DEK, no call would need kek-service.
  system.vault.deks.clear();
  await sleep(downMs);
  await system.startService(service);
  await sleep(BETWEEN_MS);
}
