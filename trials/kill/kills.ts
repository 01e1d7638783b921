import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@cardea/testkit/random';
import type { Cardea } from './cardea.ts';
import type { Client } from './client.ts';
import { Violation } from './ledger.ts';
import type { Ledger } from './ledger.ts';
import { serviceNames } from './orders.ts';
import type { ServiceName } from './orders.ts';

/** From the kill until the whole of Cardea must work again. */
const UP_WITHIN_MS = 15_000;
const BETWEEN_MS_MAX = 800;
const DURING_RECOVERY_MS_MAX = 600;
const SUPERVISOR_EVERY = 25;

/** What was killed, and how long it took to come back. */
export interface Toll {
  killed: Record<ServiceName | 'supervisor', number>;
  twoAtOnce: number;
  duringRecovery: number;
  recoveriesMs: number[];
}

export function createToll(): Toll {
  const killed = { 'kek-service': 0, 'audit-service': 0, 'api-service': 0, supervisor: 0 };
  return { killed, twoAtOnce: 0, duringRecovery: 0, recoveriesMs: [] };
}

export function totalKills({ killed }: Toll): number {
  return Object.values(killed).reduce((sum, count) => sum + count, 0);
}

/** What a killer works with. */
export interface Killing {
  cardea: Cardea;
  ledger: Ledger;
  client: Client;
  random: Random;
  toll: Toll;
}

/** Kills at a random moment, waits until all is up again, and notes how long that took. @throws Violation if it is too long */
export async function killOnce(killing: Killing): Promise<void> {
  const { cardea, random, toll } = killing;
  await sleep(random.below(BETWEEN_MS_MAX));
  let diedAt = performance.now();
  if (isSupervisorDue(toll)) {
    await killSupervisor(killing);
  } else {
    await killServices(killing, chooseServices(random));
    if (random.chance(0.25)) {
      await sleep(random.below(DURING_RECOVERY_MS_MAX));
      diedAt = performance.now();
      toll.duringRecovery += await killServices(killing, [random.pick(serviceNames)]);
    }
  }
  await cardea.untilReady(UP_WITHIN_MS);
  await untilWorking(killing, diedAt + UP_WITHIN_MS);
  toll.recoveriesMs.push(performance.now() - diedAt);
}

function isSupervisorDue(toll: Toll): boolean {
  return totalKills(toll) >= (toll.killed.supervisor + 1) * SUPERVISOR_EVERY;
}

function chooseServices(random: Random): ServiceName[] {
  const first = random.pick(serviceNames);
  return random.chance(0.2) ? [...new Set([first, random.pick(serviceNames)])] : [first];
}

/** Answers how many were running. */
async function killServices({ cardea, toll }: Killing, names: ServiceName[]): Promise<number> {
  const found = await Promise.all(names.map((name) => cardea.kill(name)));
  const dead = names.filter((_name, index) => found[index]);
  for (const name of dead) toll.killed[name] += 1;
  if (dead.length > 1) toll.twoAtOnce += 1;
  return dead.length;
}

/** Now and then with a service beside it, and started again at once, while what it left behind is still ending. */
async function killSupervisor(killing: Killing): Promise<void> {
  const { cardea, random, toll } = killing;
  if (random.chance(0.5)) toll.twoAtOnce += await killServices(killing, [random.pick(serviceNames)]);
  await cardea.killSupervisor();
  toll.killed.supervisor += 1;
  cardea.startSupervisor();
}

/** Whether all three services do their work: a new vault needs a wrapped DEK, its secret an unwrapped one, each a record. */
async function untilWorking({ client, ledger }: Killing, deadline: number): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const vault = `probe-${ledger.answers.length}-${attempt}`;
    const secret = ledger.secret(vault, 'probe');
    const works =
      (await client.createVault(vault)) &&
      (await client.write(secret, `probe of ${vault}`)) === 'answered' &&
      (await client.read(secret)) === 'answered';
    if (performance.now() > deadline) throw new Violation(`nothing works ${UP_WITHIN_MS} ms after a kill`);
    if (works) return;
    await sleep(20);
  }
}
