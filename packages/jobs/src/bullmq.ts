import { MINUTE_MS } from '@cardea/contracts/durations';
import type { JobName } from '@cardea/contracts/jobs';
import { Queue as BullQueue, UnrecoverableError, WaitingError, Worker } from 'bullmq';
import type { Job, QueueOptions } from 'bullmq';
import { Redis, ReplyError } from 'ioredis';
import { keepSchedules } from './bullmq-schedules.ts';
import { ATTEMPTS_MAX, HandedBack, QueueUnavailable, RETRY_DELAY_MS, jobNames, parsePayload, runJob } from './queue.ts';
import type { JobHandlers, JobObserver, OnJobError, Queue } from './queue.ts';
import { connectionTo } from './redis-options.ts';
import type { RedisServer } from './redis-options.ts';

const ANSWER_WITHIN_MS = 5000;
const PROBE_WITHIN_MS = 1000;
const RECONNECT_MAX_MS = 2000;
const LOCK_MS = 15_000;
const SILENT_MS = 30_000;

export interface BullmqOptions {
  redis: RedisServer;
  /** The prefix of every key in Redis. */
  prefix?: string;
  onError: OnJobError;
  observer?: JobObserver;
  /** The wait before the second attempt. Doubles with each attempt. */
  retryDelayMs?: number;
  /** How often schedules are checked. If Redis loses its data, schedules stop for at most this long. */
  checkSchedulesMs?: number;
  /** How long `add`, `every`, `work` and `countWaiting` wait for Redis. */
  answerWithinMs?: number;
  /** A connection on which an answer is late for this long is given up. */
  silentMs?: number;
  /** Another process runs a job again if the process that ran it has not been heard of for this long. */
  lockMs?: number;
}

/**
 * Queues in Redis, one for each name of a job, shared by every process with the same Redis and prefix. They connect by
 * themselves, and connect again after Redis was unavailable. Redis needs `maxmemory-policy noeviction`: with another
 * policy it may delete jobs.
 */
export function createBullmqQueue(options: BullmqOptions): Queue {
  const { onError, observer, prefix = 'cardea', retryDelayMs = RETRY_DELAY_MS, lockMs = LOCK_MS } = options;
  // Why there is no connection, while there is none.
  let refusal: Error | undefined;
  const inTime = <T>(work: Promise<T>) =>
    within(options.answerWithinMs ?? ANSWER_WITHIN_MS, work.catch(refuseAsAway), () => refusal);
  let leaving = false;
  const connection = new Redis({
    ...connectionTo(options.redis),
    maxRetriesPerRequest: null,
    // More than a worker waits for the next job. Without it, a network that swallows everything stops the jobs for as
    // long as the system tries to send again, which is a quarter of an hour.
    socketTimeout: options.silentMs ?? SILENT_MS,
    // A clean close needs an answer from Redis, and a process that must end cannot wait until Redis is back.
    retryStrategy: (attempts: number) => (leaving ? null : Math.min(attempts * 100, RECONNECT_MAX_MS)),
  });
  connection.on('ready', () => (refusal = undefined));
  connection.on('error', (error) => {
    refusal = error;
    onError(error);
  });
  const queues = new Map(
    jobNames.map((name) => [
      name,
      openQueue(name, { connection, prefix, defaultJobOptions: jobOptions(retryDelayMs) }),
    ]),
  );
  const checkMs = options.checkSchedulesMs ?? MINUTE_MS;
  const schedules = keepSchedules({ queues, connection, template: jobOptions(retryDelayMs), checkMs, onError });
  const closing = new AbortController();
  const running = new Set<Promise<void>>();
  let workers: Worker[] | undefined;
  let closed: Promise<void> | undefined;

  function openQueue(name: JobName, settings: QueueOptions): BullQueue {
    return new BullQueue(name, settings).on('error', (error) => onError(error));
  }

  function openWorker(handlers: JobHandlers, name: JobName, concurrency: number): Worker {
    const stalling = { lockDuration: lockMs, stalledInterval: lockMs / 3, maxStalledCount: ATTEMPTS_MAX };
    const worker = new Worker(name, (job, token) => tracked(run(handlers, job, token)), {
      connection,
      prefix,
      concurrency,
      ...stalling,
    });
    worker.on('error', (error) => onError(error));
    worker.on('failed', (job, error) => reportFailure(onError, job, error));
    return worker;
  }

  async function tracked(job: Promise<void>): Promise<void> {
    running.add(job);
    try {
      await job;
    } finally {
      running.delete(job);
    }
  }

  async function run(handlers: JobHandlers, job: Job, token: string | undefined): Promise<void> {
    const name = job.name as JobName;
    refuseInvalid(name, job.data);
    try {
      await runJob(handlers, { name, payload: job.data, signal: closing.signal }, observer);
    } catch (error) {
      if (!(error instanceof HandedBack)) throw error;
      await job.moveToWait(token);
      throw new WaitingError();
    }
  }

  return {
    async add(name, payload, { key, delayMs } = {}) {
      const parsed = parsePayload(name, payload);
      const deduplication = key === undefined ? {} : { deduplication: { id: key, keepLastIfActive: true } };
      const delay = delayMs === undefined ? {} : { delay: delayMs };
      await inTime(queues.get(name)!.add(name, parsed, { ...deduplication, ...delay }));
    },
    async every(name, periodMs, payload) {
      await inTime(schedules.add(name, periodMs, parsePayload(name, payload)));
    },
    async work(handlers, { concurrency = {} } = {}) {
      if (workers) throw new Error('this queue runs jobs already');
      workers = jobNames.map((name) => openWorker(handlers, name, concurrency[name] ?? 1));
      await inTime(Promise.all(workers.map((worker) => worker.waitUntilReady())));
      const limited = jobNames.map((name) =>
        schedules.limit(name, concurrency[name] === undefined ? 'alone' : 'together'),
      );
      await inTime(Promise.all(limited));
    },
    async countWaiting() {
      return await inTime(countWaiting(queues));
    },
    close() {
      closed ??= closeAll();
      return closed;
    },
  };

  async function closeAll(): Promise<void> {
    schedules.stop();
    await Promise.all((workers ?? []).map((worker) => worker.pause(true)));
    closing.abort(new HandedBack());
    // Without force, BullMQ would wait forever for a lost connection to close.
    const force = !(await answers(connection));
    const closings = (workers ?? []).map((worker) => worker.close(force));
    await Promise.allSettled(running);
    leaving = true;
    await inTime(Promise.all([...closings, ...[...queues.values()].map((queue) => queue.close())])).catch(onError);
    connection.disconnect();
  }
}

/** Redis keeps nothing of a job that has ended: SQL and the audit log hold its result. */
function jobOptions(retryDelayMs: number) {
  return {
    attempts: ATTEMPTS_MAX,
    backoff: { type: 'exponential', delay: retryDelayMs },
    removeOnComplete: true,
    removeOnFail: true,
  };
}

/** @throws UnrecoverableError, because an invalid payload stays invalid in every attempt */
function refuseInvalid(name: JobName, payload: unknown): void {
  try {
    parsePayload(name, payload);
  } catch (error) {
    throw new UnrecoverableError(`invalid payload of ${name}: ${String(error)}`);
  }
}

async function countWaiting(queues: Map<JobName, BullQueue>): Promise<Map<JobName, number>> {
  const counts = [...queues].map(async ([name, queue]) => {
    // A delayed job that is due is not moved before a worker looks.
    const [waiting, delayed] = await Promise.all([queue.getWaitingCount(), queue.getDelayedCount(Date.now())]);
    return [name, waiting + delayed] as const;
  });
  return new Map(await Promise.all(counts));
}

async function answers(connection: Redis): Promise<boolean> {
  return await within(PROBE_WITHIN_MS, connection.ping()).then(
    () => true,
    () => false,
  );
}

/** A Redis that answers that it cannot serve now: it loads its data, runs a script, or has no memory left. */
function refuseAsAway(error: unknown): never {
  if (error instanceof ReplyError) throw new QueueUnavailable('Redis refuses', { cause: error });
  throw error;
}

/** BullMQ waits for Redis forever. A request that adds a job cannot. @throws QueueUnavailable after `withinMs` */
async function within<T>(withinMs: number, work: Promise<T>, why?: () => Error | undefined): Promise<T> {
  const timeout = Promise.withResolvers<never>();
  const giveUp = () => timeout.reject(new QueueUnavailable('Redis did not answer in time', { cause: why?.() }));
  const timer = setTimeout(giveUp, withinMs);
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function reportFailure(onError: OnJobError, job: Job | undefined, error: Error): void {
  if (!job) return onError(error);
  const final = error instanceof UnrecoverableError || job.attemptsMade >= ATTEMPTS_MAX;
  onError(error, { name: job.name, attempt: job.attemptsMade, final });
}
