import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@cardea/testkit/random';
import type { Cardea } from './cardea.ts';
import type { Client } from './client.ts';
import { Violation } from './ledger.ts';
import type { Ledger } from './ledger.ts';
import { serviceNames } from './messages.ts';
import type { ServiceName } from './messages.ts';

/** All of Cardea must work again within this time after a kill. */
const UP_WITHIN_MS = 15_000;
const BETWEEN_MS_MAX = 800;
const DURING_RECOVERY_MS_MAX = 600;
const SUPERVISOR_EVERY = 25;

/** How many processes were killed, and how long Cardea took to recover. */
export interface KillCounts {
  killed: Record<ServiceName | 'supervisor', number>;
  twoAtOnce: number;
  duringRecovery: number;
  recoveriesMs: number[];
}

export function createKillCounts(): KillCounts {
  const killed = { 'kek-service': 0, 'audit-service': 0, 'api-service': 0, supervisor: 0 };
  return { killed, twoAtOnce: 0, duringRecovery: 0, recoveriesMs: [] };
}

export function totalKills({ killed }: KillCounts): number {
  return Object.values(killed).reduce((sum, count) => sum + count, 0);
}

/** The parts of a trial that kills need. */
export interface KillContext {
  cardea: Cardea;
  ledger: Ledger;
  client: Client;
  random: Random;
  killCounts: KillCounts;
}

/**
 * Kills processes at a random moment, waits until Cardea works again, and records how long that took.
 * @throws Violation if it takes too long
 */
export async function killOnce(context: KillContext): Promise<void> {
  const { cardea, random, killCounts } = context;
  await sleep(random.below(BETWEEN_MS_MAX));
  let diedAt = performance.now();
  if (isSupervisorDue(killCounts)) {
    await killSupervisor(context);
  } else {
    await killServices(context, chooseServices(random));
    if (random.chance(0.25)) {
      await sleep(random.below(DURING_RECOVERY_MS_MAX));
      diedAt = performance.now();
      killCounts.duringRecovery += await killServices(context, [random.pick(serviceNames)]);
    }
  }
  await cardea.untilReady(UP_WITHIN_MS);
  await untilWorking(context, diedAt + UP_WITHIN_MS);
  killCounts.recoveriesMs.push(performance.now() - diedAt);
}

function isSupervisorDue(killCounts: KillCounts): boolean {
  return totalKills(killCounts) >= (killCounts.killed.supervisor + 1) * SUPERVISOR_EVERY;
}

function chooseServices(random: Random): ServiceName[] {
  const first = random.pick(serviceNames);
  return random.chance(0.2) ? [...new Set([first, random.pick(serviceNames)])] : [first];
}

/** Kills services. Returns how many of them were running. */
async function killServices({ cardea, killCounts }: KillContext, names: ServiceName[]): Promise<number> {
  const found = await Promise.all(names.map((name) => cardea.kill(name)));
  const dead = names.filter((_name, index) => found[index]);
  for (const name of dead) killCounts.killed[name] += 1;
  if (dead.length > 1) killCounts.twoAtOnce += 1;
  return dead.length;
}

/**
 * Kills the supervisor, half of the time with a service, and starts it again while its old services are still ending.
 */
async function killSupervisor(context: KillContext): Promise<void> {
  const { cardea, random, killCounts } = context;
  if (random.chance(0.5)) killCounts.twoAtOnce += await killServices(context, [random.pick(serviceNames)]);
  await cardea.killSupervisor();
  killCounts.killed.supervisor += 1;
  cardea.startSupervisor();
}

/**
 * Waits until all three services work: a new vault needs a wrapped DEK, its secret an unwrapped one, and each call
 * needs a record. It must have worked by `deadline`, a time of `performance.now`.
 * @throws Violation after `deadline`
 */
export async function untilWorking(
  { client, ledger }: { client: Client; ledger: Ledger },
  deadline: number,
): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const vault = `probe-${ledger.answers.length}-${attempt}`;
    const secret = ledger.secret(vault, 'probe');
    const works =
      (await client.createVault(vault)) &&
      (await client.write(secret, `probe of ${vault}`)) === 'answered' &&
      (await client.read(secret)) === 'answered';
    if (performance.now() > deadline) throw new Violation('nothing works in time after a fault');
    if (works) return;
    await sleep(20);
  }
}
