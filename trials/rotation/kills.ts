import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/vault/durations';
import type { Random } from '@cardea/testkit/random';
import { Violation } from '../kill/ledger.ts';
import { readSecret, writeSecret } from './changes.ts';
import type { Client } from './client.ts';
import type { Filler } from './fill.ts';
import type { Installation, Target } from './installation.ts';
import type { KnownSecret } from './known-secrets.ts';
import { destroyKek, letKekRotate, listKeks, readRotation, startRotation, steerRotation } from './rotations.ts';

/** All of Cardea must work again within this time after a kill. */
const UP_WITHIN_MS = 30 * SECOND_MS;
const BETWEEN_MS_MAX = 1_500;
/** A KEK rotation is short, so a kill that is to hit it comes soon. */
const SOON_MS_MAX = 300;
/** A run that is killed leaves its vault claimed for a minute. After that, the rotation must go on. */
const STANDSTILL_MS_MAX = 4 * MINUTE_MS;
const DESTROY_KEK_EVERY = 8;

/** What the kills need, and what they count. */
export interface KillContext {
  installation: Installation;
  client: Client;
  random: Random;
  filler: Filler;
  /** Only the kills change this secret. */
  probe: KnownSecret;
  counts: KillCounts;
}

export interface KillCounts {
  killed: Map<Target, number>;
  recoveriesMs: number[];
  /** Kills while the rotation of DEKs had vaults left, and while the KEK rotation had DEKs left. */
  kekRotationsStarted: number;
  keksDestroyed: number;
  keksKept: number;
  cancelled: number;
  dek: { id: string; done: number; movedAt: number } | undefined;
}

export function createKillCounts(): KillCounts {
  return {
    killed: new Map(),
    recoveriesMs: [],
    kekRotationsStarted: 0,
    keksDestroyed: 0,
    keksKept: 0,
    cancelled: 0,
    dek: undefined,
  };
}

export function totalKills({ killed }: KillCounts): number {
  return [...killed.values()].reduce((sum, count) => sum + count, 0);
}

/**
 * Makes sure that DEKs and the KEK rotate, kills the next target in turn at a random moment, waits until Cardea works
 * again, and records how long that took.
 * @throws Violation if it takes too long, or if the rotation does not go on
 */
export async function killOnce(context: KillContext): Promise<void> {
  const { installation, random, counts } = context;
  const { targets } = installation;
  await keepDeksRotating(context);
  await sleep(random.below(BETWEEN_MS_MAX));
  if (random.chance(0.5)) await startKekRotation(context);
  await sleep(random.below(SOON_MS_MAX));

  const target = targets[totalKills(counts) % targets.length]!;
  const diedAt = performance.now();
  await installation.kill(target);
  counts.killed.set(target, (counts.killed.get(target) ?? 0) + 1);
  await installation.untilReady(UP_WITHIN_MS);
  await untilWorking(context, diedAt + UP_WITHIN_MS);
  counts.recoveriesMs.push(performance.now() - diedAt);
  if (totalKills(counts) % DESTROY_KEK_EVERY === 0) await destroySomeKek(context);
}

/** Starts a rotation of all DEKs when the last one has ended. Sometimes it pauses, resumes or cancels the open one. */
async function keepDeksRotating({ client, random, counts }: KillContext): Promise<void> {
  const { dek } = counts;
  const rotation = dek && (await readRotation(client, dek.id));
  if (rotation && rotation.state !== 'finished' && rotation.state !== 'cancelled') {
    if (rotation.state === 'paused') return steerRotation(client, rotation.id, 'resume');
    if (rotation.done > dek.done) Object.assign(dek, { done: rotation.done, movedAt: performance.now() });
    if (performance.now() - dek.movedAt > STANDSTILL_MS_MAX) {
      throw new Violation(`the rotation stands still: ${JSON.stringify(rotation)}`);
    }
    if (random.chance(0.05)) return steerRotation(client, rotation.id, 'pause');
    if (!random.chance(0.05)) return;
    await steerRotation(client, rotation.id, 'cancel');
    counts.cancelled += 1;
  }
  const id = await startRotation(client, 'dek');
  counts.dek = id === undefined ? undefined : { id, done: 0, movedAt: performance.now() };
}

async function startKekRotation({ installation, client, counts }: KillContext): Promise<void> {
  await letKekRotate(installation);
  if ((await startRotation(client, 'kek')) !== undefined) counts.kekRotationsStarted += 1;
}

/** Asks for the destruction of the newest KEK that only opens DEKs. It may still wrap some. */
async function destroySomeKek({ client, counts }: KillContext): Promise<void> {
  const old = (await listKeks(client)).findLast(({ state }) => state === 'decrypt-only');
  if (!old) return;
  const isDestroyed = await destroyKek(client, old.version);
  if (isDestroyed === true) counts.keksDestroyed += 1;
  if (isDestroyed === false) counts.keksKept += 1;
}

async function untilWorking({ client, probe, filler }: KillContext, deadline: number): Promise<void> {
  for (;;) {
    const works = (await writeSecret(client, probe, filler.newValue())) && (await readSecret(client, probe));
    if (performance.now() > deadline) throw new Violation(`nothing works ${UP_WITHIN_MS} ms after a kill`);
    if (works) return;
    await sleep(20);
  }
}
