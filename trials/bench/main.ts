import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startCardea } from './cardea.ts';
import { measureFlood } from './flood.ts';
import { measureFull } from './full.ts';
import { measureKeys } from './keys.ts';
import { measure } from './load.ts';
import type { Measured } from './load.ts';
import { memoryOf } from './memory.ts';
import type { ProcessMemory } from './memory.ts';
import { prepare } from './prepare.ts';
import { measureRotation } from './rotation.ts';
import { measureSweeps } from './sweeps.ts';

/**
 * Measures audited reads and writes per second, two baselines in the same run, and memory. The load generator runs on
 * the same machine, so only the ratios count: divide each figure by the baseline above it.
 *
 *   pnpm bench [seconds] [connections,…]
 *   pnpm bench full [seconds] [connections,…] [api-services] [milliseconds to PostgreSQL]
 *   pnpm bench flood [full]
 *   pnpm bench sweeps
 *   pnpm bench rotation
 *   pnpm bench keys [seconds] [only rows with this in their name]
 */
const seconds = Number(process.argv[2] ?? 4);
const connectionCounts = (process.argv[3] ?? '1,16,64,256').split(',').map(Number);
const PORT = 8600;
const BASELINE_PORT = 8599;
const ROUNDS = 3;

/* eslint-disable no-console -- a command prints its table */
const parts: Record<string, () => Promise<void>> = {
  full: measureFull,
  flood: measureFlood,
  sweeps: measureSweeps,
  rotation: measureRotation,
  keys: measureKeys,
};
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
    const load = (url: string, bearer: string) => measure({ url, connections, token: bearer, seconds });
    const bare = await load(`${base}/bare`, baseline.token);
    // Measured in turns, because the speed of a shared machine drifts. The pair with the median ratio counts.
    const pairs: { opened: Measured; reads: Measured }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      pairs.push({ opened: await load(`${base}/open`, baseline.token), reads: await load(secret, token) });
    }
    const { opened, reads } = medianOf(pairs, (pair) => pair.reads.perSecond / pair.opened.perSecond);
    const writes = await measure({ url: secret, connections, token, seconds, writes: true });
    print(connections, 'baseline 1: bare node:http', bare, opened);
    print(connections, 'baseline 2: and one JWT, one envelope', opened, opened);
    print(connections, 'audited reads', reads, opened);
    print(connections, 'audited writes', writes, opened);
  }
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
