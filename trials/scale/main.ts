// Checks that a call costs the same for a vault of any size, measured at the front door of profile mini:
//   pnpm test:scale [sizes,…]
// One Cardea has a vault of the first size. The vault of another Cardea is filled step by step. Every call is made to
// both in turn, so that other work on this machine affects both. Exits with 1 if a median time, or the heap that a page
// takes, is more than three times that of the first size.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { addManySecrets, nameOf } from '@cardea/testkit/many-secrets';
import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { toCursor } from '@cardea/vault/cursor';
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
    'usage: pnpm test:scale [sizes,…], two or more sizes of at least 1,000, each larger than the previous one\n',
  );
  process.exit(78);
}

/** One request. Its random parts name secrets that exist in a vault of this size. */
interface Call {
  method?: 'PUT';
  path(size: number, vaultId: string): string;
}

const inVault = `/vaults/${VAULT}/secrets`;
let made = 0;

// Each call returns the same number of items at every size.
const calls: Record<string, Call> = {
  'get a secret': { path: () => `${inVault}/${ownName((made += 1) % SAMPLES)}` },
  'put a new secret': { method: 'PUT', path: () => `${inVault}/area${random(100)}/new${(made += 1)}/password` },
  'list, first page': { path: () => `${inVault}?limit=50` },
  'list, page in the middle': {
    path: (size, vaultId) => `${inVault}?limit=50&cursor=${cursorAt(vaultId, random(size / 2))}`,
  },
  'list folded at /': { path: () => `${inVault}?limit=50&delimiter=/` },
  'list the trash': { path: () => `${inVault}?limit=50&deleted=true` },
  'list what expires': { path: () => `${inVault}?limit=50&expiringBefore=2200-01-01T00:00:00Z` },
  'search a rare word': { path: (size) => `/secrets?limit=50&q=item${rareNumber(size)}` },
  'search a common word': { path: () => '/secrets?limit=50&q=passw' },
  'search a common and a rare word': { path: (size) => `/secrets?limit=50&q=passw%20item${rareNumber(size)}` },
  'search metadata': { path: () => '/secrets?limit=50&metadata.env=prod' },
};

/** A Cardea with one vault of many secrets. */
interface FilledVault {
  system: TestSystem;
  vaultId: string;
  size: number;
}

/** The medians of one measurement, at the first size and at another. */
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

async function main(base: FilledVault, vault: FilledVault): Promise<boolean> {
  const [first = 0, ...others] = sizes;
  await fill(base, first);
  const bySize: Record<string, Pair>[] = [];
  for (const size of others) {
    const began = performance.now();
    await fill(vault, size);
    process.stderr.write(`${size} secrets, filled in ${((performance.now() - began) / 1000).toFixed(0)} s\n`);
    bySize.push(await measureAll(base, vault));
  }
  return report(bySize);
}

async function prepare(system: TestSystem): Promise<FilledVault> {
  const admin = await system.as('admin');
  const { body } = await admin.post('/vaults', { name: VAULT }).expect(201);
  // The secrets that are read need a value that opens.
  for (let i = 0; i < SAMPLES; i += 1) await admin.putSecret(VAULT, ownName(i), `value ${i}`);
  return { system, vaultId: body.id as string, size: 0 };
}

async function fill(vault: FilledVault, size: number): Promise<void> {
  const db = vault.system.openDatabase();
  try {
    await addManySecrets(db, { vaultId: vault.vaultId, from: vault.size, to: size });
  } finally {
    await db.close();
  }
  vault.size = size;
}

async function measureAll(base: FilledVault, vault: FilledVault): Promise<Record<string, Pair>> {
  const figures: Record<string, Pair> = {};
  for (const [what, call] of Object.entries(calls)) {
    for (let i = 0; i < WARM_UP; i += 1) await inTurn(base, vault, (one) => timed(one, call));
    figures[`${what}, ms`] = await medians(base, vault, SAMPLES, (one) => timed(one, call));
  }
  figures['heap of a page of 500, KiB'] = await medians(base, vault, 15, heapOfPage);
  return figures;
}

type Measure = (vault: FilledVault) => Promise<number>;

async function medians(base: FilledVault, vault: FilledVault, samples: number, measure: Measure): Promise<Pair> {
  const pairs: Pair[] = [];
  for (let i = 0; i < samples; i += 1) pairs.push(await inTurn(base, vault, measure));
  return { base: median(pairs.map((pair) => pair.base)), figure: median(pairs.map((pair) => pair.figure)) };
}

async function inTurn(base: FilledVault, vault: FilledVault, measure: Measure): Promise<Pair> {
  return { base: await measure(base), figure: await measure(vault) };
}

/** Milliseconds from the request to the whole answer. */
async function timed(vault: FilledVault, call: Call): Promise<number> {
  const { token } = await vault.system.as('admin');
  const began = performance.now();
  await send(vault, token, call);
  return performance.now() - began;
}

async function send({ system, size, vaultId }: FilledVault, token: string, { method, path }: Call): Promise<void> {
  const target = path(size, vaultId);
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const body = method === 'PUT' ? JSON.stringify({ value: 'new', metadata: { env: 'test' } }) : null;
  const answer = await fetch(`${system.url}/api/v1${target}`, { method: method ?? 'GET', headers, body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${target}: ${answer.status} ${text}`);
}

/** The position after a secret, in the list of all names of a vault. */
function cursorAt(vaultId: string, number: number): string {
  return toCursor(['secrets', vaultId, undefined, false], [nameOf(number)]);
}

/** How much the heap of this process, client and services together, grows by one page, in KiB. */
async function heapOfPage(vault: FilledVault): Promise<number> {
  const { token } = await vault.system.as('admin');
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  await send(vault, token, { path: () => `${inVault}?limit=500` });
  return (process.memoryUsage().heapUsed - before) / 1024;
}

/** Prints the figures. Returns false if a figure grew with the number of secrets. */
function report(bySize: Record<string, Pair>[]): boolean {
  const [first, ...others] = sizes.map((size) => size.toLocaleString('en'));
  const header = ['median', ...others.map((size) => `${size} (compared with ${first})`)];
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
  return `${a} (at the first size ${b}: ${(figure / base).toFixed(2)}×)`;
}

function ownName(i: number): string {
  return `area${i % 100}/own${i}/password`;
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

// A number with as many digits as the largest ones, so that it is no prefix of a longer one, and not one in the trash.
function rareNumber(size: number): number {
  const number = size / 10 + random(size * 0.9);
  return number % 19 === 0 ? number + 1 : number;
}
