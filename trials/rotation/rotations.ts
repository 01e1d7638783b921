import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { Violation } from '../kill/ledger.ts';
import { bodyOf } from './client.ts';
import type { Client } from './client.ts';
import type { Installation } from './installation.ts';

const POLL_MS = 250;
/** At most one KEK rotation starts within this time. */
const KEK_ROTATION_EVERY_MS = 5 * MINUTE_MS;

/** A rotation, as the API shows it. */
export interface Rotation {
  id: string;
  kind: 'dek' | 'kek';
  state: 'running' | 'paused' | 'cancelled' | 'finished';
  total: number;
  done: number;
  failed: number;
  rowsPerSecond: number;
}

/** A version of the KEK, as the API shows it. */
export interface ShownKek {
  version: number;
  state: 'enabled' | 'decrypt-only' | 'destroyed';
  deks: number;
}

/** Starts a rotation. Returns undefined if it is unknown whether it was started. */
export async function startRotation(client: Client, kind: Rotation['kind']): Promise<string | undefined> {
  const answer = await client.ask('rotation.start', { method: 'POST', path: '/rotations', body: { kind } });
  return answer && bodyOf<{ id: string }>(answer).id;
}

export async function readRotation(client: Client, id: string): Promise<Rotation> {
  const answer = await client.insist('rotation.read', { method: 'GET', path: `/rotations/${id}` });
  if (answer.status === 404) throw new Violation(`the rotation ${id} was acknowledged but does not exist`);
  return bodyOf<Rotation>(answer);
}

/** Pauses, resumes or cancels a rotation. It may have ended meanwhile. */
export async function steerRotation(client: Client, id: string, verb: 'pause' | 'resume' | 'cancel'): Promise<void> {
  await client.ask(`rotation.${verb}`, { method: 'POST', path: `/rotations/${id}:${verb}`, body: {} }, { mayBe: 409 });
}

/** All rotations, the newest first. */
export async function listRotations(client: Client): Promise<Rotation[]> {
  const rotations: Rotation[] = [];
  let cursor: string | undefined;
  do {
    const query: string = cursor === undefined ? '' : `&cursor=${cursor}`;
    const path = `/rotations?limit=100${query}`;
    const answer = await client.insist('rotation.list', { method: 'GET', path });
    const page = bodyOf<{ items: Rotation[]; nextCursor?: string }>(answer);
    rotations.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return rotations;
}

/** Waits until no rotation is open, and resumes those that are paused. @throws Violation after `withinMs` */
export async function untilNoneIsOpen(client: Client, withinMs: number): Promise<Rotation[]> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const rotations = await listRotations(client);
    const open = rotations.filter(({ state }) => state === 'running' || state === 'paused');
    if (open.length === 0) return rotations;
    if (performance.now() > deadline) throw new Violation(`not finished in time: ${JSON.stringify(open)}`);
    for (const { id, state } of open) if (state === 'paused') await steerRotation(client, id, 'resume');
    await sleep(POLL_MS);
  }
}

/** Starts a rotation and waits for its end. @throws Violation if it does not finish without a failure in time */
export async function rotate(client: Client, kind: Rotation['kind'], withinMs: number): Promise<Rotation> {
  let id: string | undefined;
  while (id === undefined) id = await startRotation(client, kind);
  const deadline = performance.now() + withinMs;
  for (;;) {
    const rotation = await readRotation(client, id);
    if (rotation.state === 'finished' && rotation.failed === 0) return rotation;
    const isLate = performance.now() > deadline;
    if (isLate || rotation.state !== 'running') throw new Violation(`a rotation fails: ${JSON.stringify(rotation)}`);
    await sleep(POLL_MS);
  }
}

/**
 * Dates the finished KEK rotations five minutes back in the database, so that the next one may start at once. It is the
 * only thing that the trial writes there.
 */
export async function letKekRotate(installation: Installation): Promise<void> {
  const db = installation.openDatabase();
  try {
    await db.transaction(async (tx) => {
      await tx.query(
        `update rotation set started_at = started_at - $1 where kind = 'kek' and finished_at is not null`,
        [KEK_ROTATION_EVERY_MS],
      );
    });
  } finally {
    await db.close();
  }
}

export async function listKeks(client: Client): Promise<ShownKek[]> {
  const answer = await client.insist('kek.list', { method: 'GET', path: '/keks' });
  return bodyOf<{ items: ShownKek[] }>(answer).items;
}

/**
 * Asks for the destruction of a KEK. It must be refused while the KEK wraps a DEK. Returns whether it is destroyed;
 * undefined if that is unknown.
 */
export async function destroyKek(client: Client, version: number): Promise<boolean | undefined> {
  const path = `/keks/${version}:destroy`;
  const answer = await client.ask('kek.destroy', { method: 'POST', path, body: {} }, { mayBe: 409 });
  return answer && answer.status === 204;
}

/** How long a rotation of so many versions may take on a slow machine: two minutes, and a second for each 200. */
export function patienceFor(versions: number): number {
  return 2 * MINUTE_MS + (versions / 200) * SECOND_MS;
}
