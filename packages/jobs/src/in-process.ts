import type { JobName } from '@cardea/contracts/jobs';
import { ATTEMPTS_MAX, RETRY_DELAY_MS, parsePayload, runHandler, scheduleId } from './queue.ts';
import type { AddOptions, JobHandlers, OnJobError, Queue } from './queue.ts';

// After a sleep of the computer or a change of its clock, `now` jumps and timers do not.
const TICK_MAX_MS = 1000;

export interface InProcessOptions {
  onError: OnJobError;
  /** Milliseconds since 1970. Jobs become due by this clock, which is read at least every second. */
  now?: () => number;
  /** The wait before the second attempt. Doubles with each attempt. */
  retryDelayMs?: number;
}

interface WaitingJob {
  name: JobName;
  payload: unknown;
  key: string | undefined;
  attempt: number;
  dueAt: number;
}

interface Schedule {
  name: JobName;
  payload: unknown;
  periodMs: number;
  dueAt: number;
}

/**
 * A queue inside one process. Its jobs are lost when the process ends, and its timers do not keep the process alive.
 */
export function createInProcessQueue(options: InProcessOptions): Queue {
  const { onError, now = Date.now, retryDelayMs = RETRY_DELAY_MS } = options;
  const waiting = new Set<WaitingJob>();
  const schedules = new Map<string, Schedule>();
  const keys = new Set<string>();
  const running = new Set<Promise<void>>();
  let handlers: JobHandlers | undefined;
  let concurrency = 1;
  const closing = new AbortController();
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  function enqueue(name: JobName, payload: unknown, { key, delayMs = 0 }: AddOptions): void {
    const ownKey = key === undefined ? undefined : `${name} ${key}`;
    if (ownKey !== undefined && keys.has(ownKey)) return;
    if (ownKey !== undefined) keys.add(ownKey);
    waiting.add({ name, payload, key: ownKey, attempt: 1, dueAt: now() + delayMs });
  }

  function dispatch(): void {
    clearTimeout(timer);
    if (handlers === undefined || closed) return;
    for (const [id, schedule] of schedules) startSchedule(id, schedule);
    for (const job of waiting) {
      if (running.size >= concurrency) return;
      if (job.dueAt <= now()) start(handlers, job);
    }
    wakeLater();
  }

  function startSchedule(id: string, schedule: Schedule): void {
    if (schedule.dueAt > now()) return;
    enqueue(schedule.name, schedule.payload, { key: `every ${id}` });
    schedule.dueAt = now() + schedule.periodMs;
  }

  function start(to: JobHandlers, job: WaitingJob): void {
    waiting.delete(job);
    const run = attempt(to, job).finally(() => {
      running.delete(run);
      dispatch();
    });
    running.add(run);
  }

  async function attempt(to: JobHandlers, job: WaitingJob): Promise<void> {
    try {
      await runHandler(to, job, { signal: closing.signal, done: () => undefined });
    } catch (error) {
      const final = job.attempt >= ATTEMPTS_MAX;
      onError(error, { name: job.name, attempt: job.attempt, final });
      if (!final) return retry(job);
    }
    if (job.key !== undefined) keys.delete(job.key);
  }

  function retry(job: WaitingJob): void {
    const delayMs = retryDelayMs * 2 ** (job.attempt - 1);
    waiting.add({ ...job, attempt: job.attempt + 1, dueAt: now() + delayMs });
  }

  function wakeLater(): void {
    const times = [...waiting, ...schedules.values()].map(({ dueAt }) => dueAt - now());
    if (times.length === 0) return;
    timer = setTimeout(dispatch, Math.max(0, Math.min(TICK_MAX_MS, ...times)));
    timer.unref();
  }

  function refuseClosed(): void {
    if (closed) throw new Error('the queue is closed');
  }

  return {
    async add(name, payload, options = {}) {
      refuseClosed();
      enqueue(name, parsePayload(name, payload), options);
      dispatch();
    },
    async every(name, periodMs, payload) {
      refuseClosed();
      const parsed = parsePayload(name, payload);
      const id = scheduleId(name, parsed);
      const known = schedules.get(id);
      if (known?.periodMs === periodMs) return;
      schedules.set(id, { name, payload: parsed, periodMs, dueAt: now() });
      dispatch();
    },
    async work(to, options = {}) {
      refuseClosed();
      if (handlers) throw new Error('this queue runs jobs already');
      handlers = to;
      concurrency = options.concurrency ?? 4;
      dispatch();
    },
    async close() {
      closed = true;
      closing.abort();
      clearTimeout(timer);
      await Promise.all(running);
    },
  };
}
