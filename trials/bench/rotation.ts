import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, startRedis } from '@cardea/testkit/servers';
import { createTestSystem } from '@cardea/testkit/system';
import type { Profile, TestSystem } from '@cardea/testkit/system';
import { uuidv7 } from '@cardea/crypto/ids';
import { insertDek } from '@cardea/vault/deks/dek-store';
import { wrapNewDek } from '@cardea/vault/deks/new-dek';
import autocannon from 'autocannon';
import { startCardea } from './cardea.ts';

const VALUES = 12_000;
const VALUES_PER_IMPORT = 1_000;
const DEKS = 6_000;
const WRAPS_AT_ONCE = 50;
const READERS = 8;
const READ_SECONDS = 4;
const ROUNDS = 3;
const PORT = 8620;

/* eslint-disable no-console -- a command prints its table */

/**
 * Measures rotations, with their records in the audit log: how many values a second are sealed again and how many DEKs a
 * second are rewrapped, on SQLite and PostgreSQL, with all services in this process; and the p99 of reads while values
 * are sealed again, in an installation of profile mini, and in profile full with a worker of its own.
 */
export async function measureRotation(): Promise<void> {
  const postgres = await startPostgres({ fsync: 'on' });
  const redis = await startRedis();
  process.env['CARDEA_TEST_POSTGRES_URL'] = postgres.url;
  process.env['CARDEA_TEST_REDIS_URL'] = redis.url;
  try {
    console.log('| engine | what | a second |\n|---|---|---|');
    for (const profile of ['mini', 'full'] as const) await measureSpeed(profile);
    console.log('\n| profile | p99 of reads alone, ms | during the rotation, ms | times |\n|---|---|---|---|');
    await measureReadsOfMini();
    await measureReadsOfFull();
  } finally {
    await Promise.all([postgres.stop(), redis.stop()]);
  }
}

async function measureSpeed(profile: Profile): Promise<void> {
  await using system = await createTestSystem(profile);
  const admin = await system.as('admin');
  const { engine } = system.vault.db;
  const client = { url: system.url, token: admin.token };
  await fill(client);
  // The first one compiles.
  for (const what of ['values sealed again, first run', 'values sealed again']) {
    const id = await startRotation(client, { kind: 'dek', vault: 'bench' });
    const { items, seconds } = await run(system, id);
    if (items !== VALUES) throw new Error(`${items} values were sealed again, not ${VALUES}`);
    console.log(`| ${engine} | ${what} | ${Math.round(items / seconds)} |`);
  }
  await addDeks(system);
  const id = await startRotation(client, { kind: 'kek' });
  const { items, seconds } = await run(system, id);
  if (items < DEKS) throw new Error(`${items} DEKs were rewrapped, not ${DEKS}`);
  console.log(`| ${engine} | DEKs rewrapped | ${Math.round(items / seconds)} |`);
}

async function run(system: TestSystem, rotationId: string): Promise<{ items: number; seconds: number }> {
  let items = 0;
  const began = performance.now();
  await system.runJob('rotation.run', { rotationId }, { done: (count) => void (items += count) });
  return { items, seconds: (performance.now() - began) / 1000 };
}

async function addDeks({ vault: ctx }: TestSystem): Promise<void> {
  for (let added = 0; added < DEKS; added += WRAPS_AT_ONCE) {
    const refs = Array.from({ length: WRAPS_AT_ONCE }, () => ({ vaultId: uuidv7(Date.now()), dekVersion: 1 }));
    const wrapped = await Promise.all(refs.map((ref) => wrapNewDek(ctx, ref)));
    await ctx.db.transaction(async (tx) => {
      for (const [index, ref] of refs.entries()) await insertDek(tx, ref, wrapped[index]!, 0);
    });
  }
}

async function measureReadsOfMini(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'cardea-bench-'));
  const cardea = await startCardea(PORT, dataDir);
  try {
    const body = JSON.stringify({ username: 'admin', password: cardea.password });
    const headers = { 'content-type': 'application/json' };
    const login = await fetch(`${cardea.url}/api/v1/auth/login`, { method: 'POST', headers, body });
    const { access_token: token } = (await login.json()) as { access_token: string };
    const client = { url: cardea.url, token };
    await fill(client);
    await compareReads('mini', client);
  } finally {
    await cardea.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function measureReadsOfFull(): Promise<void> {
  await using system = await createTestSystem('full', { CARDEA_READS_PER_SECOND: '1000000000' });
  system.keepsSchedule = true;
  await system.restart();
  const client = { url: system.url, token: (await system.as('admin')).token };
  await fill(client);
  await compareReads('full', client);
}

// Measured in turns, because the speed of a shared machine drifts. The pair with the median ratio counts.
async function compareReads(profile: Profile, client: Client): Promise<void> {
  await readFor(client, 3);
  const pairs: { alone: number; meanwhile: number }[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const alone = await readFor(client, READ_SECONDS);
    let isOver = false;
    const rotating = rotateUntil(client, () => isOver);
    const meanwhile = await readFor(client, READ_SECONDS);
    isOver = true;
    await rotating;
    pairs.push({ alone, meanwhile });
  }
  const ratio = (pair: (typeof pairs)[number]) => pair.meanwhile / pair.alone;
  const median = pairs.toSorted((a, b) => ratio(a) - ratio(b))[Math.floor(ROUNDS / 2)]!;
  console.log(`| ${profile} | ${median.alone} | ${median.meanwhile} | ${ratio(median).toFixed(1)} |`);
}

/** Rotates the vault again and again. */
async function rotateUntil(client: Client, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const id = await startRotation(client, { kind: 'dek', vault: 'bench' });
    let state = 'running';
    while (state === 'running') {
      await new Promise((resolve) => setTimeout(resolve, 100));
      ({ state } = (await call(client, 'GET', `/rotations/${id}`)) as { state: string });
    }
  }
}

/** The p99 of the time of a read in milliseconds. */
async function readFor({ url, token }: Client, seconds: number): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const secret = `${url}/api/v1/vaults/bench/secrets/area1/1`;
  const result = await autocannon({ url: secret, connections: READERS, duration: seconds, headers });
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${result.non2xx} refused, ${result.errors} failed`);
  return result.latency.p99;
}

interface Client {
  url: string;
  token: string;
}

async function fill(client: Client): Promise<void> {
  await call(client, 'POST', '/vaults', { name: 'bench' });
  for (let area = 0; area < VALUES / VALUES_PER_IMPORT; area += 1) {
    const values = Array.from({ length: VALUES_PER_IMPORT }, (_, i) => [`area${area}/${i}`, 'x'.repeat(64)]);
    const content = JSON.stringify(Object.fromEntries(values));
    await call(client, 'POST', '/vaults/bench/secrets:import', { format: 'json', content });
  }
}

async function startRotation(client: Client, body: object): Promise<string> {
  return ((await call(client, 'POST', '/rotations', body)) as { id: string }).id;
}

async function call({ url, token }: Client, method: string, path: string, body?: object): Promise<unknown> {
  const answer = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
