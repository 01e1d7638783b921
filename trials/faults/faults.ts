import { setTimeout as sleep } from 'node:timers/promises';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { openPostgres } from '@cardea/storage/postgres';
import { Violation } from '../kill/ledger.ts';
import type { Client } from '../rotation/client.ts';
import { readRotation, startRotation } from '../rotation/rotations.ts';
import type { Rotation } from '../rotation/rotations.ts';
import type { Link } from './link.ts';
import { linkedPeers } from './stack.ts';
import type { LinkedPeer, LinkedStack } from './stack.ts';

const LASTS_MS = 3 * SECOND_MS;
const CUT_MS = 2 * SECOND_MS;
const DELAY_MS = 50;
const SLOW_REDIS_MS = 500;
/** A worker that is killed leaves its vault claimed for a minute. */
const ROTATED_WITHIN_MS = 3 * MINUTE_MS;
/** Short, because a rotation of so little is. */
const POLL_MS = 10;
/** A rotation may end before the worker is killed. Then another one is started. */
const ROTATIONS_MAX = 10;

/** Something that goes wrong for a few seconds. */
export interface Fault {
  name: string;
  /** Lets it happen. Resolves when it is over, with how many times it has bitten: 0 would prove nothing. */
  act(stack: LinkedStack, client: Client): Promise<number>;
  /** What `act` counts. */
  bites: string;
  /** True if a client may lose its connection. Otherwise each request is answered. */
  cutsClients?: boolean;
}

/** All faults, in the order in which they happen. */
export const faults: readonly Fault[] = [
  {
    name: 'PostgreSQL restarted',
    bites: 'connections cut',
    act: ({ full }) => afterwards(countConnections(full.stores.postgres.url), () => full.stores.postgres.restart()),
  },
  {
    name: 'PostgreSQL killed',
    bites: 'connections cut',
    act: ({ full }) => afterwards(countConnections(full.stores.postgres.url), () => full.stores.postgres.crash()),
  },
  {
    name: 'connections of PostgreSQL ended',
    bites: 'connections cut',
    act: ({ full }) => endConnections(full.stores.postgres.url),
  },
  {
    name: 'Redis flushed',
    bites: 'keys lost',
    act: ({ full }) => afterwards(full.stores.redis.keys(), () => full.stores.redis.flush()),
  },
  {
    name: 'Redis stopped',
    bites: 'connections refused',
    act: ({ full, links }) =>
      harmTo(links.Redis, 'cut', async () => {
        await full.stores.redis.down();
        await sleep(LASTS_MS);
        await full.stores.redis.up();
      }),
  },
  {
    name: 'Redis slow',
    bites: 'messages late',
    act: ({ links }) => harmTo(links.Redis, 'late', () => slowDown(links.Redis, SLOW_REDIS_MS)),
  },
  { name: 'nginx reloaded', bites: 'processes replaced', cutsClients: true, act: reloadNginx },
  { name: 'one api-service killed', bites: 'process killed', cutsClients: true, act: killApi },
  { name: 'worker killed in a rotation', bites: 'rotation interrupted', act: killWorkerInRotation },
  ...linkedPeers.flatMap(faultsOfLink),
];

function faultsOfLink(peer: LinkedPeer): Fault[] {
  return [
    {
      name: `way to ${peer} slow`,
      bites: 'messages late',
      act: ({ links }) => harmTo(links[peer], 'late', () => slowDown(links[peer], DELAY_MS)),
    },
    {
      name: `way to ${peer} stalled`,
      bites: 'messages late',
      act: ({ links }) =>
        harmTo(links[peer], 'late', async () => {
          links[peer].stall();
          await sleep(LASTS_MS);
          links[peer].mend();
        }),
    },
    {
      name: `way to ${peer} cut`,
      bites: 'connections cut',
      // nginx cannot take back the beginning of an answer.
      cutsClients: peer === 'api-service',
      act: ({ links }) =>
        harmTo(links[peer], 'cut', async () => {
          links[peer].cut();
          await sleep(CUT_MS);
          links[peer].mend();
        }),
    },
  ];
}

async function harmTo(link: Link, kind: keyof Link['harm'], act: () => Promise<void>): Promise<number> {
  const before = link.harm[kind];
  await act();
  return link.harm[kind] - before;
}

async function slowDown(link: Link, delayMs: number): Promise<void> {
  link.delay(delayMs);
  await sleep(LASTS_MS);
  link.mend();
}

/** Counts, then acts. Resolves with the count. */
async function afterwards(count: Promise<number>, act: () => Promise<void>): Promise<number> {
  const counted = await count;
  await act();
  return counted;
}

async function countConnections(postgresUrl: string): Promise<number> {
  const [row] = await ask<{ n: number }>(postgresUrl, `select count(*) as n from pg_stat_activity where ${OF_CARDEA}`);
  return row!.n;
}

async function endConnections(postgresUrl: string): Promise<number> {
  const rows = await ask(postgresUrl, `select pg_terminate_backend(pid) from pg_stat_activity where ${OF_CARDEA}`);
  return rows.length;
}

const OF_CARDEA = `backend_type = 'client backend' and datname <> current_database()`;

async function ask<Row>(postgresUrl: string, sql: string): Promise<Row[]> {
  const db = openPostgres(postgresUrl);
  try {
    return await db.query<Row>(sql);
  } finally {
    await db.close();
  }
}

async function reloadNginx({ nginx }: LinkedStack): Promise<number> {
  const before = new Set(nginx.pids());
  await nginx.reload();
  return nginx.pids().filter((pid) => !before.has(pid)).length;
}

async function killApi({ full }: LinkedStack): Promise<number> {
  await full.kill('api-service');
  return 1;
}

/** Kills the worker while it rotates all DEKs, and waits for the end of the rotation. */
async function killWorkerInRotation({ full }: LinkedStack, client: Client): Promise<number> {
  for (let rotations = 0; rotations < ROTATIONS_MAX; rotations += 1) {
    const id = await startRotation(client, 'dek');
    if (id === undefined) continue;
    await untilBegun(client, id);
    await full.kill('worker');
    const { state } = await readRotation(client, id);
    await untilFinished(client, id);
    if (state === 'running') return 1;
  }
  return 0;
}

async function untilBegun(client: Client, id: string): Promise<void> {
  await untilTrue(client, id, ({ state, done }) => state !== 'running' || done > 0);
}

async function untilFinished(client: Client, id: string): Promise<void> {
  const { state, failed } = await untilTrue(client, id, (rotation) => rotation.state !== 'running');
  if (state !== 'finished' || failed > 0) throw new Violation(`the rotation ${id} is ${state}, ${failed} failed`);
}

async function untilTrue(client: Client, id: string, isTrue: (rotation: Rotation) => boolean): Promise<Rotation> {
  const deadline = performance.now() + ROTATED_WITHIN_MS;
  for (;;) {
    const rotation = await readRotation(client, id);
    if (isTrue(rotation)) return rotation;
    await sleep(POLL_MS);
    if (performance.now() > deadline) throw new Violation(`a rotation takes too long: ${JSON.stringify(rotation)}`);
  }
}
