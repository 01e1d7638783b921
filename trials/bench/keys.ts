import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startCardea } from './cardea.ts';
import { measure, measureWhole } from './load.ts';
import type { MeasuredWhole } from './load.ts';
import { prepare, signIn } from './prepare.ts';

const PORT = 8600;
const BASELINE_PORT = 8599;
const BATCH = 100;
const CLIENTS = 64;
const READERS = 8;
const PLAINTEXT = randomBytes(1_024).toString('base64');
const MESSAGE = randomBytes(64).toString('base64');

interface Operation {
  algorithm: string;
  verb: 'encrypt' | 'decrypt' | 'sign' | 'verify';
}

const all: Operation[] = [
  { algorithm: 'aes-256-gcm', verb: 'encrypt' },
  { algorithm: 'aes-256-gcm', verb: 'decrypt' },
  ...['ed25519', 'ecdsa-p256', 'rsa-2048', 'ml-dsa-65'].flatMap((algorithm): Operation[] => [
    { algorithm, verb: 'sign' },
    { algorithm, verb: 'verify' },
  ]),
];

// `bench keys 2 sign` measures what has `sign` in its name.
const only = process.argv[4] ?? '';
const operations = all.filter((operation) => nameOf(operation).includes(only));
const READS = 'reads beside rsa-4096';

function nameOf({ algorithm, verb }: Operation): string {
  return `${algorithm} ${verb}`;
}

/** A server, and how it names what it does. */
interface Server {
  token(): Promise<string>;
  urlOf(operation: Operation): string;
}

/* eslint-disable no-console -- a command prints its table */

/** Measures what keys do a second, beside the same on bare node:crypto, and what a reader of secrets notices of RSA-4096. */
export async function measureKeys(): Promise<void> {
  const seconds = Number(process.argv[3] ?? 4);
  const dataDir = mkdtempSync(join(tmpdir(), 'cardea-bench-keys-'));
  const running = await startCardea(PORT, dataDir);
  const child = fork(fileURLToPath(new URL('keys-baseline.ts', import.meta.url)), {
    env: { ...process.env, BASELINE_PORT: String(BASELINE_PORT) },
  });
  try {
    const [{ token }] = (await once(child, 'message')) as [{ token: string }];
    const path = `${running.url}/api/v1/vaults/bench/keys`;
    const created = await prepare(running);
    for (const algorithm of [...new Set(operations.map((one) => one.algorithm)), 'rsa-4096']) {
      await post(path, created, { name: algorithm, algorithm });
    }
    const cardea: Server = {
      token: () => signIn(running),
      urlOf: ({ algorithm, verb }) => `${path}/${algorithm}:${verb}`,
    };
    const baseline: Server = {
      token: async () => token,
      urlOf: ({ algorithm, verb }) => `http://127.0.0.1:${BASELINE_PORT}/${verb}/${algorithm}`,
    };
    await compare({ cardea, baseline, seconds });
    if (!READS.includes(only)) return;
    await measureReads(cardea, { secret: `${running.url}/api/v1/vaults/bench/secrets/db/password`, seconds });
  } finally {
    child.disconnect();
    await running.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function compare({ cardea, baseline, seconds }: { cardea: Server; baseline: Server; seconds: number }) {
  console.log(
    '| connections | what | items a call | items/s | baseline items/s | of baseline | p50 ms | p99 ms | refused |',
  );
  console.log('|---|---|---|---|---|---|---|---|---|');
  for (const connections of [1, CLIENTS]) {
    for (const operation of operations) {
      for (const items of [1, BATCH]) {
        // The one after the other, because the speed of a shared machine drifts.
        const bare = await run(baseline, operation, { connections, items, seconds });
        const own = await run(cardea, operation, { connections, items, seconds });
        const what = nameOf(operation);
        const [mine, theirs] = [own.perSecond * items, bare.perSecond * items];
        const figures = [Math.round(mine), Math.round(theirs), (mine / theirs).toFixed(2), own.p50Ms, own.p99Ms];
        const refused = Object.entries(own.refused).map(([status, count]) => `${count} × ${status}`);
        console.log(`| ${[connections, what, items, ...figures, refused.join(', ')].join(' | ')} |`);
      }
    }
  }
}

async function run(
  server: Server,
  operation: Operation,
  { connections, items, seconds }: { connections: number; items: number; seconds: number },
): Promise<MeasuredWhole> {
  const token = await server.token();
  const item = await itemOf(server, operation, token);
  const body = JSON.stringify(items === 1 ? item : { items: Array.from({ length: items }, () => item) });
  return measureWhole({ url: server.urlOf(operation), connections, token, seconds, body });
}

async function itemOf(server: Server, { algorithm, verb }: Operation, token: string): Promise<object> {
  if (verb === 'encrypt') return { plaintextBase64: PLAINTEXT };
  if (verb === 'sign') return { messageBase64: MESSAGE };
  const isSealed = verb === 'decrypt';
  const made = await post(
    server.urlOf({ algorithm, verb: isSealed ? 'encrypt' : 'sign' }),
    token,
    isSealed ? { plaintextBase64: PLAINTEXT } : { messageBase64: MESSAGE },
  );
  return isSealed ? { ciphertext: made['ciphertext'] } : { messageBase64: MESSAGE, signature: made['signature'] };
}

async function measureReads(cardea: Server, { secret, seconds }: { secret: string; seconds: number }): Promise<void> {
  const reads = async () => measure({ url: secret, connections: READERS, token: await cardea.token(), seconds });
  const alone = await reads();
  const url = cardea.urlOf({ algorithm: 'rsa-4096', verb: 'sign' });
  const body = JSON.stringify({ messageBase64: MESSAGE });
  const token = await cardea.token();
  // Longer than the reads with their warm-up.
  const signing = measure({ url, connections: CLIENTS, token, seconds: seconds + 4, body });
  const [beside, signed] = await Promise.all([reads(), signing]);
  console.log(`\n${READERS} connections read a secret: p99 ${alone.p99Ms} ms (${Math.round(alone.perSecond)}/s)`);
  const factor = (beside.p99Ms / alone.p99Ms).toFixed(1);
  console.log(
    `while ${CLIENTS} sign with rsa-4096 (${Math.round(signed.perSecond)}/s): ${beside.p99Ms} ms, ${factor} times`,
  );
}

async function post(url: string, token: string, body: object): Promise<Record<string, unknown>> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as Record<string, unknown>;
}
