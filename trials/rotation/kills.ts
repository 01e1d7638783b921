import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import type { Random } from '@cardea/testkit/random';
import { Violation } from '../kill/ledger.ts';
import { readSecret, writeSecret } from './changes.ts';
import type { Client } from './client.ts';
import type { Filler } from './fill.ts';
import type { Installation, Target } from './installation.ts';
import type { KnownSecret } from './known-secrets.ts';
import { destroyKek, letKekRotate, listKeks, listRotations, startRotation, steerRotation } from './rotations.ts';
import type { Rotation } from './rotations.ts';

/** All of Cardea must work again within this time after a kill. */
const UP_WITHIN_MS = 30 * SECOND_MS;
const BETWEEN_MS_MAX = 1_500;
/** A KEK rotation is short, so a kill that is to hit it comes soon. */
const SOON_MS_MAX = 300;
/** The share of kills before which the open rotation is paused or cancelled. */
const STEERED = 0.1;
/** A run that is killed leaves its vault claimed for a minute. After that, the rotation must go on. */
const STANDSTILL_MS_MAX = 4 * MINUTE_MS;
/** How many times in a row the destruction of a KEK is asked for that may still wrap DEKs. */
const DESTROY_TRIES = 5;

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
  /** KEKs destroyed while others rotated, and how many times that was refused. */
  keksDestroyed: number;
  keksKept: number;
  /** The rotation of DEKs that is watched, its progress, and when that last grew. */
  dek: { id: string; done: number; movedAt: number } | undefined;
}

export function createKillCounts(): KillCounts {
  return {
    killed: new Map(),
    recoveriesMs: [],
    keksDestroyed: 0,
    keksKept: 0,
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
  if (random.chance(0.2)) await destroyReplacedKek(context);
  await sleep(random.below(SOON_MS_MAX));

  const target = targets[totalKills(counts) % targets.length]!;
  const diedAt = performance.now();
  await installation.kill(target);
  counts.killed.set(target, (counts.killed.get(target) ?? 0) + 1);
  await installation.untilReady(UP_WITHIN_MS);
  await untilWorking(context, diedAt + UP_WITHIN_MS);
  counts.recoveriesMs.push(performance.now() - diedAt);
}

/** Starts a rotation of all DEKs when none is open. Sometimes it pauses, resumes or cancels the open one. */
async function keepDeksRotating({ client, random, counts }: KillContext): Promise<void> {
  const open = await findOldestOpen(client);
  if (!open) {
    await startRotation(client, 'dek');
    return;
  }
  requireProgress(counts, open);
  if (open.state === 'paused') await steerRotation(client, open.id, 'resume');
  else if (random.chance(STEERED)) await steerRotation(client, open.id, random.pick(['pause', 'cancel']));
}

// A start without an answer may have been done, so more than one may be open. The oldest goes on first.
async function findOldestOpen(client: Client): Promise<Rotation | undefined> {
  const rotations = await listRotations(client);
  return rotations.findLast(({ kind, state }) => kind === 'dek' && (state === 'running' || state === 'paused'));
}

function requireProgress(counts: KillCounts, { id, done, total, state }: Rotation): void {
  const { dek } = counts;
  const isMoved = dek?.id !== id || done > dek.done || state === 'paused';
  if (isMoved) counts.dek = { id, done, movedAt: performance.now() };
  else if (performance.now() - dek.movedAt > STANDSTILL_MS_MAX) {
    throw new Violation(`the rotation ${id} stands still at ${done} of ${total}`);
  }
}

async function startKekRotation({ installation, client }: KillContext): Promise<void> {
  await letKekRotate(installation);
  await startRotation(client, 'kek');
}

/** Asks for the destruction of the newest KEK while it is being replaced. It must be refused as long as it wraps a DEK. */
async function destroyReplacedKek({ client, counts }: KillContext): Promise<void> {
  const [newest, previous] = (await listKeks(client)).toReversed();
  if (!newest) return;
  for (let tried = 0; tried < DESTROY_TRIES; tried += 1) {
    const { version } = tried % 2 === 1 && previous?.state === 'decrypt-only' ? previous : newest;
    const isDestroyed = await destroyKek(client, version);
    if (isDestroyed === true) counts.keksDestroyed += 1;
    if (isDestroyed === false) counts.keksKept += 1;
  }
}

async function untilWorking({ client, probe, filler }: KillContext, deadline: number): Promise<void> {
  for (;;) {
    const works = (await writeSecret(client, probe, filler.newValue())) && (await readSecret(client, probe));
    if (performance.now() > deadline) throw new Violation(`nothing works ${UP_WITHIN_MS} ms after a kill`);
    if (works) return;
    await sleep(20);
  }
}
