import { Worker } from 'node:worker_threads';
import type { DigestAnswer, DigestWork } from './digest-thread.ts';

interface Waiting {
  resolve(answer: DigestAnswer): void;
  reject(error: Error): void;
}

// The one thread of this process, from its first use. It keeps no process alive that has nothing else to do.
let thread: Worker | undefined;
let lastId = 0;
const waiting = new Map<number, Waiting>();

/** Signs or verifies a digest in a thread of its own: OpenSSL and noble let nobody in until the end. */
export function inDigestThread(work: Omit<DigestWork, 'id'>): Promise<DigestAnswer> {
  thread ??= startThread();
  const id = (lastId += 1);
  return new Promise<DigestAnswer>((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    thread!.ref();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    thread!.postMessage({ ...work, id } satisfies DigestWork);
  });
}

function startThread(): Worker {
  const started = new Worker(new URL('digest-thread.ts', import.meta.url));
  started.on('message', (answer: DigestAnswer) => {
    const { resolve } = waiting.get(answer.id)!;
    waiting.delete(answer.id);
    if (waiting.size === 0) started.unref();
    resolve(answer);
  });
  // The next use starts another one.
  started.on('error', (error) => fail(error as Error));
  started.on('exit', () => fail(new Error('the thread for digests has ended')));
  return started;
}

function fail(error: Error): void {
  thread = undefined;
  for (const { reject } of waiting.values()) reject(error);
  waiting.clear();
}
