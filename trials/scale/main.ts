// Whether a call costs the same however many secrets a vault holds, measured by the front door of profile mini:
//   pnpm test:scale [sizes,…]
// One Cardea keeps a vault of the first size, that of another is filled step by step, and every call is made to both in
// turn, so that whatever else this machine does meets both. Ends with 1 if a median, or what a page takes of the heap, is
// more than three times that of the first size.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { addManySecrets, nameOf } from '@cardea/testkit/many-secrets';
import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { median } from '../timing/rank-test.ts';

const VAULT = 'many';
const RATIO_MAX = 3;
const SAMPLES = 100;
const WARM_UP = 20;

const sizes = (process.argv[2] ?? '1000,100000,1000000').split(',').map(Number);
if (
  sizes.length < 2 ||
  !sizes.every((size, i) => Number.isInteger(size) && size >= 1_000 && size > (sizes[i - 1] ?? 0))
) {
  process.stderr.write(
    'usage: pnpm test:scale [sizes,…], two or more from 1,000 on, each larger than the one before\n',
  );
  process.exit(78);
}

/** One request: what is random in it is so within the secrets that are there. */
interface Call {
  method?: 'PUT';
  path(size: number): string;
}

const inVault = `/vaults/${VAULT}/secrets`;
let made = 0;

// Each answers the same number of items at every size.
const calls: Record<string, Call> = {
  'get a secret': { path: () => `${inVault}/${ownName((made += 1) % SAMPLES)}` },
  'put a new secret': { method: 'PUT', path: () => `${inVault}/area${random(100)}/new${(made += 1)}/password` },
  'list, first page': { path: () => `${inVault}?limit=50` },
  'list, page in the middle': { path: (size) => `${inVault}?limit=50&cursor=${nameOf(random(size / 2))}` },
  'list folded at /': { path: () => `${inVault}?limit=50&delimiter=/` },
  'list the trash': { path: () => `${inVault}?limit=50&deleted=true` },
  'list what ends': { path: () => `${inVault}?limit=50&expiringBefore=2200-01-01T00:00:00Z` },
  'search a rare word': { path: (size) => `/secrets?limit=50&q=item${rareNumber(size)}` },
  'search a common word': { path: () => '/secrets?limit=50&q=passw' },
  'search a common and a rare word': { path: (size) => `/secrets?limit=50&q=passw%20item${rareNumber(size)}` },
  'search metadata': { path: () => '/secrets?limit=50&metadata.env=prod' },
};

/** A Cardea with one vault of many secrets. */
interface Ground {
  system: TestSystem;
  vaultId: string;
  size: number;
}

/** Medians of the same, at the first size and at another. */
interface Pair {
  base: number;
  figure: number;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const unlimited = { CARDEA_READS_PER_SECOND: '1000000000' };
await using small = await createTestSystem('mini', unlimited);
await using large = await createTestSystem('mini', unlimited);
process.exitCode = (await main(await prepare(small), await prepare(large))) ? 0 : 1;

async function main(base: Ground, ground: Ground): Promise<boolean> {
  const [first = 0, ...others] = sizes;
  await fill(base, first);
  const bySize: Record<string, Pair>[] = [];
  for (const size of others) {
    const began = performance.now();
    await fill(ground, size);
    process.stderr.write(`${size} secrets, filled in ${((performance.now() - began) / 1000).toFixed(0)} s\n`);
    bySize.push(await measureAll(base, ground));
  }
  return report(bySize);
}

async function prepare(system: TestSystem): Promise<Ground> {
  const admin = await system.as('admin');
  const { body } = await admin.post('/vaults', { name: VAULT }).expect(201);
  // Those that are read have a value that opens.
  for (let i = 0; i < SAMPLES; i += 1) await admin.putSecret(VAULT, ownName(i), `value ${i}`);
  return { system, vaultId: body.id as string, size: 0 };
}

async function fill(ground: Ground, size: number): Promise<void> {
  const db = ground.system.openDatabase();
  try {
    await addManySecrets(db, { vaultId: ground.vaultId, from: ground.size, to: size });
  } finally {
    await db.close();
  }
  ground.size = size;
}

async function measureAll(base: Ground, ground: Ground): Promise<Record<string, Pair>> {
  const figures: Record<string, Pair> = {};
  for (const [what, call] of Object.entries(calls)) {
    for (let i = 0; i < WARM_UP; i += 1) await inTurn(base, ground, (one) => timed(one, call));
    figures[`${what}, ms`] = await medians(base, ground, SAMPLES, (one) => timed(one, call));
  }
  figures['heap of a page of 500, KiB'] = await medians(base, ground, 15, heapOfPage);
  return figures;
}

type Measure = (ground: Ground) => Promise<number>;

async function medians(base: Ground, ground: Ground, samples: number, measure: Measure): Promise<Pair> {
  const pairs: Pair[] = [];
  for (let i = 0; i < samples; i += 1) pairs.push(await inTurn(base, ground, measure));
  return { base: median(pairs.map((pair) => pair.base)), figure: median(pairs.map((pair) => pair.figure)) };
}

async function inTurn(base: Ground, ground: Ground, measure: Measure): Promise<Pair> {
  return { base: await measure(base), figure: await measure(ground) };
}

/** Milliseconds from the request to the whole answer. */
async function timed(ground: Ground, call: Call): Promise<number> {
  const { token } = await ground.system.as('admin');
  const began = performance.now();
  await send(ground, token, call);
  return performance.now() - began;
}

async function send({ system, size }: Ground, token: string, { method, path }: Call): Promise<void> {
  const target = path(size);
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const body = method === 'PUT' ? JSON.stringify({ value: 'new', metadata: { env: 'test' } }) : null;
  const answer = await fetch(`${system.url}/api/v1${target}`, { method: method ?? 'GET', headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${target}: ${answer.status} ${text}`);
}

/** How much the heap of this process, client and services together, grows by one page, in KiB. */
async function heapOfPage(ground: Ground): Promise<number> {
  const { token } = await ground.system.as('admin');
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  await send(ground, token, { path: () => `${inVault}?limit=500` });
  return (process.memoryUsage().heapUsed - before) / 1024;
}

/** Prints what was measured; false if something grew with the number of secrets. */
function report(bySize: Record<string, Pair>[]): boolean {
  const [first, ...others] = sizes.map((size) => size.toLocaleString('en'));
  const header = ['median', ...others.map((size) => `${size} (beside ${first})`)];
  const rows = Object.keys(bySize[0] ?? {}).map((what) => ({ what, pairs: bySize.map((figures) => figures[what]!) }));
  const lines = [header, header.map(() => '---'), ...rows.map(({ what, pairs }) => [what, ...pairs.map(cell)])];
  process.stdout.write(`${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`);
  const worse = rows.filter(({ pairs }) => pairs.some(({ base, figure }) => figure / base > RATIO_MAX));
  const verdict = worse.length === 0 ? 'ok: nothing grows' : `FAILED: ${worse.map(({ what }) => what).join('; ')}`;
  process.stdout.write(`${verdict} (more than ${RATIO_MAX} times the first size is too much)\n`);
  return worse.length === 0;
}

function cell({ base, figure }: Pair): string {
  const [a, b] = [figure, base].map((value) => value.toFixed(value < 10 ? 2 : 0));
  return `${a} (beside ${b}: ${(figure / base).toFixed(2)}×)`;
}

function ownName(i: number): string {
  return `area${i % 100}/own${i}/password`;
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

// As many digits as the largest numbers have, so that no longer one begins with it; and none that is in the trash.
function rareNumber(size: number): number {
  const number = size / 10 + random(size * 0.9);
  return number % 19 === 0 ? number + 1 : number;
}
