import { Agent, get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';

// Measures, until it is told to end, what somebody has to wait for who reads one secret after the other, and somebody who
// asks for /healthz.

/** What the others had to wait for while something else went on, in milliseconds. */
export interface Waits {
  /** Of each read of another user. */
  reads: number[];
  /** Of each `GET /healthz`. */
  health: number[];
  /** How late each timer of a thread was that does nothing else. */
  timer: number[];
  refused: number;
}

const PAUSE_MS = 2;

const port = parentPort!;
const { url, token } = workerData as { url: string; token: string };
const agent = new Agent({ keepAlive: true });
const waits: Waits = { reads: [], health: [], timer: [], refused: 0 };
const end = new AbortController();
port.once('message', () => end.abort());

async function repeat(into: number[], path: string): Promise<void> {
  while (!end.signal.aborted) {
    const began = performance.now();
    const status = await ask(path);
    if (status !== 200) waits.refused += 1;
    into.push(performance.now() - began);
    await sleep(PAUSE_MS);
  }
}

async function watchTimer(): Promise<void> {
  while (!end.signal.aborted) {
    const began = performance.now();
    await sleep(PAUSE_MS);
    waits.timer.push(performance.now() - began - PAUSE_MS);
  }
}

function ask(path: string): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { authorization: `Bearer ${token}` };
  const sent = get(`${url}${path}`, { agent, headers }, (answer) => {
    answer.on('end', () => resolve(answer.statusCode ?? 0));
    answer.resume();
  });
  sent.on('error', reject);
  return promise;
}

// The code of the client is compiled, and the connections are there, before anything counts.
await Promise.all([ask('/healthz'), ask('/api/v1/vaults/bench/secrets/db/password')]);
port.postMessage('ready');
await Promise.all([
  repeat(waits.reads, '/api/v1/vaults/bench/secrets/db/password'),
  repeat(waits.health, '/healthz'),
  watchTimer(),
]);
agent.destroy();
port.postMessage(waits);
