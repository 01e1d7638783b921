import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';
import { startCardea } from './cardea.ts';
import type { Cardea } from './cardea.ts';
import { memoryOf } from './memory.ts';
import type { ProcessMemory } from './memory.ts';
import { measureRotation } from './rotation.ts';
import { measureSweeps } from './sweeps.ts';

/**
 * Measures audited reads and writes per second, two baselines in the same run, and memory. The load generator runs on
 * the same machine, so only the ratios count: divide each figure by the baseline above it.
 *
 *   pnpm bench [seconds] [connections,…]
 *   pnpm bench sweeps
 *   pnpm bench rotation
 */
const seconds = Number(process.argv[2] ?? 4);
const connectionCounts = (process.argv[3] ?? '1,16,64,256').split(',').map(Number);
const PORT = 8600;
const BASELINE_PORT = 8599;
const VALUE = 'x'.repeat(64);
// A service runs for weeks, so only compiled code counts. V8 compiles the code of a read for some seconds, and on two
// cores that slows the reads down.
const WARM_UP_SECONDS = 3;
const ROUNDS = 3;

interface Measured {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

/* eslint-disable no-console -- a command prints its table */
const parts: Record<string, () => Promise<void>> = { sweeps: measureSweeps, rotation: measureRotation };
await (parts[process.argv[2] ?? ''] ?? main)();

async function main(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'cardea-bench-'));
  const first = await startCardea(PORT, dataDir);
  await first.stop();
  // The second start is measured: the first start compiles, and keeps the memory that it needed for that.
  const cardea = await startCardea(PORT, dataDir);
  try {
    const token = await prepare(cardea);
    const [fresh, again] = [first, cardea].map(({ readySeconds }) => `${readySeconds.toFixed(1)} s`);
    console.log(`ready in ${fresh} on the first start, ${again} on the next`);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const idle = memoryOf(cardea.pid);
    const secret = `${cardea.url}/api/v1/vaults/bench/secrets/db/password`;
    const answer = await fetch(secret, { headers: { authorization: `Bearer ${token}` } });
    const baseline = await startBaseline(await answer.text());
    await measureAll({ secret, token, baseline });
    printMemory(idle, memoryOf(cardea.pid));
    baseline.child.disconnect();
  } finally {
    await cardea.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function prepare({ url, password }: Cardea): Promise<string> {
  const post = (path: string, body: object, token = '') =>
    fetch(`${url}/api/v1${path}`, {
      method: path.includes('secrets') ? 'PUT' : 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
  const login = (await (await post('/auth/login', { username: 'admin', password })).json()) as { access_token: string };
  await post('/vaults', { name: 'bench' }, login.access_token);
  await post('/vaults/bench/secrets/db/password', { value: VALUE }, login.access_token);
  return login.access_token;
}

async function startBaseline(body: string): Promise<{ child: ChildProcess; token: string }> {
  const child = fork(fileURLToPath(new URL('baseline.ts', import.meta.url)), {
    env: { ...process.env, BASELINE_BODY: body, BASELINE_PORT: String(BASELINE_PORT) },
  });
  const [message] = (await once(child, 'message')) as [{ token: string }];
  return { child, token: message.token };
}

interface Targets {
  secret: string;
  token: string;
  baseline: { token: string };
}

async function measureAll({ secret, token, baseline }: Targets): Promise<void> {
  const base = `http://127.0.0.1:${BASELINE_PORT}`;
  console.log('\n| connections | what | requests/s | p50 ms | p99 ms | of baseline 2 |\n|---|---|---|---|---|---|');
  for (const connections of connectionCounts) {
    const load = (url: string, bearer: string) => measure({ url, connections, token: bearer });
    const bare = await load(`${base}/bare`, baseline.token);
    // Measured in turns, because the speed of a shared machine drifts. The pair with the median ratio counts.
    const pairs: { opened: Measured; reads: Measured }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      pairs.push({ opened: await load(`${base}/open`, baseline.token), reads: await load(secret, token) });
    }
    const { opened, reads } = medianOf(pairs, (pair) => pair.reads.perSecond / pair.opened.perSecond);
    const writes = await measure({ url: secret, connections, token, writes: true });
    print(connections, 'baseline 1: bare node:http', bare, opened);
    print(connections, 'baseline 2: and one JWT, one envelope', opened, opened);
    print(connections, 'audited reads', reads, opened);
    print(connections, 'audited writes', writes, opened);
  }
}

async function measure(load: { url: string; connections: number; token: string; writes?: boolean }): Promise<Measured> {
  const { url, connections, token, writes = false } = load;
  let n = 0;
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const write = (request: autocannon.Request): autocannon.Request => {
    n += 1;
    return {
      ...request,
      path: `${new URL(url).pathname}/${connections}/${n % 1000}`,
      body: JSON.stringify({ value: `${VALUE}${n}` }),
    };
  };
  const options: autocannon.Options = writes
    ? { url, connections, duration: seconds, requests: [{ method: 'PUT', headers, setupRequest: write }] }
    : { url, connections, duration: seconds, headers };
  await autocannon({ ...options, duration: WARM_UP_SECONDS });
  const result = await autocannon(options);
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${url}: ${result.non2xx} refused, ${result.errors} failed`);
  return { perSecond: result.requests.average, p50Ms: result.latency.p50, p99Ms: result.latency.p99 };
}

function medianOf<T>(items: T[], by: (item: T) => number): T {
  return items.toSorted((a, b) => by(a) - by(b))[Math.floor(items.length / 2)]!;
}

function print(connections: number, what: string, { perSecond, p50Ms, p99Ms }: Measured, baseline: Measured): void {
  const ratio = (perSecond / baseline.perSecond).toFixed(2);
  const slower = baseline.p99Ms > 0 ? `${(p99Ms / baseline.p99Ms).toFixed(1)}× p99` : '';
  console.log(`| ${connections} | ${what} | ${Math.round(perSecond)} | ${p50Ms} | ${p99Ms} | ${ratio} ${slower} |`);
}

function printMemory(idle: ProcessMemory[], loaded: ProcessMemory[]): void {
  console.log('\n| process | idle PSS MiB | idle RSS MiB | after load PSS MiB |\n|---|---|---|---|');
  for (const [index, { name, pssMib, rssMib }] of idle.entries()) {
    console.log(`| ${name} | ${pssMib.toFixed(0)} | ${rssMib.toFixed(0)} | ${loaded[index]?.pssMib.toFixed(0)} |`);
  }
  console.log(`| together | ${sumOf(idle)} | | ${sumOf(loaded)} |`);
}

function sumOf(processes: ProcessMemory[]): string {
  return processes.reduce((total, { pssMib }) => total + pssMib, 0).toFixed(0);
}
