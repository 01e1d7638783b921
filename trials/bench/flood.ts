import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Person } from '@cardea/testkit/person';
import { startFull } from '../rotation/full.ts';
import { startMini } from '../rotation/installation.ts';
import { prepare } from './prepare.ts';
import type { Waits } from './waits-thread.ts';

const ALONE_MS = 8_000;
const FLOODERS = 6;
const SECRETS = 500;
const VERSIONS = 10;
const IMPORTED = 990;
const VALUE_LENGTH = 64;
const PASSWORD = 'correct horse battery staple';

/* eslint-disable no-console -- a command prints its table */
/**
 * Measures what the others notice of bulk calls: an application reads one secret after the other, and something asks
 * for /healthz, first alone and then while six callers send bulk calls all at once. Callers that are told to come back
 * do so. Only the ratio to the reads before, in the same run, counts. The slowest timer says how long the machine itself
 * kept the measurement waiting: on a busy one, the other columns have as much of it.
 */
export async function measureFlood(): Promise<void> {
  const profile = process.argv[3] === 'full' ? 'full' : 'mini';
  const folder = mkdtempSync(join(tmpdir(), 'cardea-bench-'));
  const installation = await (profile === 'full' ? startFull(folder, { durable: true }) : startMini(folder));
  try {
    await installation.untilReady(60_000);
    const { url } = installation;
    const admin = new Person(url, await prepare(installation));
    const reader = await newReader(admin, url);
    const flooders: Flooder[] = [];
    for (let n = 0; n < FLOODERS; n += 1) flooders.push(await newFlooder(admin, url, `flood${n}`));
    console.log(`profile ${profile}\n`);
    console.log(
      '| while | reads | refused | p50 ms | p99 ms | slowest ms | of the p99 alone | slowest /healthz ms | slowest timer ms | answers |',
    );
    console.log('|---|---|---|---|---|---|---|---|---|---|');
    await signInAll([reader]);
    const alone = await waitsDuring(reader, () => sleep(ALONE_MS));
    const usualP99 = print('nothing else', alone.waits, undefined, '');
    for (const each of floods) {
      await signInAll([reader, ...flooders]);
      const { waits, result } = await waitsDuring(reader, () => flood(flooders, each));
      print(`${FLOODERS * each.times} ${each.what}`, waits, usualP99, result);
    }
  } finally {
    await installation.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A client of the API. Its token lasts for some minutes, so it signs in before each part. */
interface Client {
  url: string;
  token: string;
  signIn(): Promise<Person>;
}

/** The owner of a vault with many secrets. */
type Flooder = Client & { vault: string };

async function signInAll(clients: Client[]): Promise<void> {
  for (const client of clients) client.token = (await client.signIn()).token;
}

/** An application that may read the vault of the benchmark. */
async function newReader(admin: Person, url: string): Promise<Client> {
  const { body } = await admin.post('/applications', { name: 'reader' }).expect(201);
  await admin.put('/vaults/bench/grants/application:reader', { secrets: ['read'] });
  const signIn = () => Person.ofApplication(url, 'reader', body.clientSecret as string);
  return { url, token: '', signIn };
}

/** A developer with a vault that has `SECRETS` secrets with `VERSIONS` versions each. */
async function newFlooder(admin: Person, url: string, name: string): Promise<Flooder> {
  await admin.post('/users', { username: name, role: 'developer', password: PASSWORD }).expect(201);
  const flooder: Flooder = { url, token: '', signIn: () => Person.signIn(url, name, PASSWORD), vault: name };
  await signInAll([flooder]);
  await send(flooder, '/vaults', { name });
  for (let version = 1; version <= VERSIONS; version += 1) {
    await send(flooder, `/vaults/${name}/secrets:import`, documentOf('old/', SECRETS, `v${version} `));
  }
  return flooder;
}

function documentOf(prefix: string, count: number, value: string): object {
  const names = Array.from({ length: count }, (_, n) => `${prefix}${n}`);
  const content = JSON.stringify(Object.fromEntries(names.map((name) => [name, value.padEnd(VALUE_LENGTH, 'x')])));
  return { format: 'json', content };
}

/** What each of the callers sends, `times` times at once. */
interface Flood {
  what: string;
  times: number;
  verb: string;
  body(n: number): object;
}

const YAML = Array.from({ length: IMPORTED }, (_, n) => `y/${n}: "${'x'.repeat(3_000)}"\n`).join('');

const floods: readonly Flood[] = [
  {
    what: 'dry-run moves of 500×10 versions',
    times: 5,
    verb: 'move',
    body: () => ({ prefix: 'old', toPrefix: 'new', dryRun: true }),
  },
  { what: 'dry-run imports of 990', times: 3, verb: 'import', body: (n) => ({ ...imported(n), dryRun: true }) },
  {
    what: 'dry-run imports of 3 MB of YAML',
    times: 2,
    verb: 'import',
    body: () => ({ format: 'yaml', content: YAML, dryRun: true }),
  },
  { what: 'imports of 990', times: 3, verb: 'import', body: imported },
  { what: 'exports of 500', times: 5, verb: 'export', body: () => ({ format: 'yaml', prefix: 'old' }) },
  { what: 'deletions of 990', times: 1, verb: 'delete', body: () => ({ prefix: 'in0' }) },
  { what: 'moves of 500×10 versions', times: 1, verb: 'move', body: () => ({ prefix: 'old', toPrefix: 'new' }) },
];

function imported(n: number): object {
  return documentOf(`in${n}/`, IMPORTED, String(n));
}

/** Returns how often each status was answered. */
async function flood(flooders: Flooder[], { verb, times, body }: Flood): Promise<string> {
  const counts = new Map<number, number>();
  const calls = flooders.flatMap((flooder) =>
    Array.from({ length: times }, async (_, n) => {
      for (;;) {
        const { status, retryAfterSeconds } = await send(flooder, `/vaults/${flooder.vault}/secrets:${verb}`, body(n));
        counts.set(status, (counts.get(status) ?? 0) + 1);
        if (retryAfterSeconds === undefined) return;
        await sleep(retryAfterSeconds * 1000);
      }
    }),
  );
  await Promise.all(calls);
  return [...counts].map(([status, count]) => `${count}×${status}`).join(', ');
}

/**
 * The waits are measured in a thread of their own: here the bodies of the bulk calls are written, megabytes in one turn.
 */
async function waitsDuring<T>(reader: Client, work: () => Promise<T>): Promise<{ waits: Waits; result: T }> {
  const thread = new Worker(new URL('waits-thread.ts', import.meta.url), {
    workerData: { url: reader.url, token: reader.token },
  });
  const failed = once(thread, 'error').then(([error]) => Promise.reject(error as Error));
  await Promise.race([once(thread, 'message'), failed]);
  const result = await Promise.race([work(), failed]);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  thread.postMessage('end');
  const [waits] = (await Promise.race([once(thread, 'message'), failed])) as [Waits];
  await thread.terminate();
  return { waits, result };
}

function print(
  what: string,
  { reads, health, timer, refused }: Waits,
  usualP99: number | undefined,
  answers: string,
): number {
  const p99 = quantile(reads, 0.99);
  const ms = [quantile(reads, 0.5), p99, quantile(reads, 1)].map((each) => each.toFixed(1));
  const ratio = usualP99 === undefined ? '1' : (p99 / usualP99).toFixed(1);
  console.log(
    `| ${what} | ${reads.length} | ${refused} | ${ms.join(' | ')} | ${ratio} | ${quantile(health, 1).toFixed(1)} | ${quantile(timer, 1).toFixed(1)} | ${answers} |`,
  );
  return p99;
}

function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;
}

interface Answer {
  status: number;
  retryAfterSeconds: number | undefined;
}

async function send(client: Client, path: string, body: object): Promise<Answer> {
  const answer = await ask(client, 'POST', `/api/v1${path}`, JSON.stringify(body));
  if (answer.status < 300 || answer.retryAfterSeconds !== undefined) return answer;
  throw new Error(`${path} answered ${answer.status}`);
}

// One connection for each call that is under way: none waits for another on its way to the service.
const agent = new Agent({ keepAlive: true });

function ask({ url, token }: Client, method: string, path: string, body?: string): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const headers = { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) };
  const sent = request(`${url}${path}`, { agent, method, headers }, (answer) => {
    const { statusCode: status = 0, headers: fields } = answer;
    const retryAfter = fields['retry-after'];
    answer.on('end', () => resolve({ status, retryAfterSeconds: retryAfter ? Number(retryAfter) : undefined }));
    answer.resume();
  });
  sent.on('error', reject).end(body);
  return promise;
}
