import type { JobName } from '@cardea/contracts/jobs';
import { Queue as BullQueue, UnrecoverableError, Worker } from 'bullmq';
import type { Job } from 'bullmq';
import { ATTEMPTS_MAX, RETRY_DELAY_MS, isJobName, parsePayload, runHandler, scheduleId } from './queue.ts';
import type { JobHandlers, OnJobError, Queue } from './queue.ts';
import { parseRedisUrl } from './redis-options.ts';

const QUEUE_NAME = 'jobs';
const ANSWER_WITHIN_MS = 5000;
const PROBE_WITHIN_MS = 1000;
const RECONNECT_MAX_MS = 2000;
const MINUTE_MS = 60_000;

export interface BullmqOptions {
  /** See `parseRedisUrl`. */
  redisUrl: string;
  /** The prefix of every key in Redis. */
  prefix?: string;
  onError: OnJobError;
  /** The wait before the second attempt. Doubles with each attempt. */
  retryDelayMs?: number;
  /** How often schedules are registered again. If Redis loses its data, schedules stop for at most this long. */
  reregisterMs?: number;
  /** How long `add`, `every` and `work` wait for Redis. */
  answerWithinMs?: number;
}

/**
 * A queue in Redis, shared by every process with the same Redis and prefix. It connects by itself, and connects again
 * after Redis was unavailable. Redis needs `maxmemory-policy noeviction`: with another policy it may delete jobs.
 */
export function createBullmqQueue(options: BullmqOptions): Queue {
  const { onError, prefix = 'cardea', retryDelayMs = RETRY_DELAY_MS, reregisterMs = MINUTE_MS } = options;
  const inTime = <T>(work: Promise<T>) => within(options.answerWithinMs ?? ANSWER_WITHIN_MS, work);
  let leaving = false;
  const connection = {
    ...parseRedisUrl(options.redisUrl),
    maxRetriesPerRequest: null,
    // A clean close needs an answer from Redis, and a process that must end cannot wait until Redis is back.
    retryStrategy: (attempts: number) => (leaving ? null : Math.min(attempts * 100, RECONNECT_MAX_MS)),
  };
  const jobs = new BullQueue(QUEUE_NAME, { connection, prefix, defaultJobOptions: jobOptions(retryDelayMs) });
  jobs.on('error', (error) => onError(error));
  const schedules = new Map<string, () => Promise<unknown>>();
  const timer = setInterval(() => void registerAgain(schedules, onError), reregisterMs).unref();
  const running = new Set<Promise<void>>();
  let worker: Worker | undefined;

  async function tracked(job: Promise<void>): Promise<void> {
    running.add(job);
    try {
      await job;
    } finally {
      running.delete(job);
    }
  }

  return {
    async add(name, payload, { key, delayMs } = {}) {
      const parsed = parsePayload(name, payload);
      const deduplication = key === undefined ? {} : { deduplication: { id: `${name} ${key}` } };
      await inTime(jobs.add(name, parsed, { ...deduplication, ...(delayMs !== undefined && { delay: delayMs }) }));
    },
    async every(name, periodMs, payload) {
      const parsed = parsePayload(name, payload);
      const id = scheduleId(name, parsed);
      const template = { name, data: parsed, opts: jobOptions(retryDelayMs) };
      // To register a known schedule again changes nothing: the next run keeps its time.
      const register = () => inTime(jobs.upsertJobScheduler(id, { every: periodMs }, template));
      schedules.set(id, register);
      await register();
    },
    async work(handlers, { concurrency = 4 } = {}) {
      if (worker) throw new Error('this queue runs jobs already');
      worker = new Worker(QUEUE_NAME, (job) => tracked(run(handlers, job)), { connection, prefix, concurrency });
      worker.on('error', (error) => onError(error));
      worker.on('failed', (job, error) => reportFailure(onError, job, error));
      await inTime(worker.waitUntilReady());
    },
    async close() {
      clearInterval(timer);
      await worker?.pause(true);
      // Without force, BullMQ would wait forever for a lost connection to close.
      const workerClosed = worker?.close(!(await answers(jobs)));
      await Promise.allSettled(running);
      leaving = true;
      await inTime(Promise.all([workerClosed, jobs.close()])).catch(onError);
    },
  };
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

async function answers(jobs: BullQueue): Promise<boolean> {
  return await within(PROBE_WITHIN_MS, jobs.isPaused()).then(
    () => true,
    () => false,
  );
}

/** BullMQ waits for Redis forever. A request that adds a job cannot. @throws Error after `withinMs` */
async function within<T>(withinMs: number, work: Promise<T>): Promise<T> {
  const timeout = Promise.withResolvers<never>();
  const timer = setTimeout(() => timeout.reject(new Error('Redis did not answer in time')), withinMs);
  try {
    return await Promise.race([work, timeout.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function registerAgain(schedules: Map<string, () => Promise<unknown>>, onError: OnJobError): Promise<void> {
  for (const register of schedules.values()) {
    try {
      await register();
    } catch (error) {
      onError(error);
    }
  }
}

async function run(handlers: JobHandlers, job: Job): Promise<void> {
  const name = job.name;
  // Newer code may have added the job, and a newer process may run it in another attempt.
  if (!isJobName(name)) throw new Error(`no handler for the job ${name}`);
  refuseInvalid(name, job.data);
  await runHandler(
    handlers,
    { name, payload: job.data },
    { signal: new AbortController().signal, done: () => undefined },
  );
}

/** @throws UnrecoverableError, because an invalid payload stays invalid in every attempt */
function refuseInvalid(name: JobName, payload: unknown): void {
  try {
    parsePayload(name, payload);
  } catch (error) {
    throw new UnrecoverableError(`invalid payload of ${name}: ${String(error)}`);
  }
}

function reportFailure(onError: OnJobError, job: Job | undefined, error: Error): void {
  if (!job) return onError(error);
  const final = error instanceof UnrecoverableError || job.attemptsMade >= ATTEMPTS_MAX;
  onError(error, { name: job.name, attempt: job.attemptsMade, final });
}
