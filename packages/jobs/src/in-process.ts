import type { JobName } from '@cardea/contracts/jobs';
import { ATTEMPTS_MAX, HandedBack, RETRY_DELAY_MS, jobNames, parsePayload, runJob, scheduleId } from './queue.ts';
import type { AddOptions, JobHandlers, JobObserver, OnJobError, Queue, WorkOptions } from './queue.ts';

// After a sleep of the computer or a change of its clock, `now` jumps and timers do not.
const TICK_MAX_MS = 1000;

export interface InProcessOptions {
  onError: OnJobError;
  observer?: JobObserver;
  /** Milliseconds since 1970. Jobs become due by this clock, which is read at least every second. */
  now?: () => number;
  /** The wait before the second attempt. Doubles with each attempt. */
  retryDelayMs?: number;
}

/** Something that becomes due `waitMs` after it was added, by the clock of the queue. */
interface Timed {
  waitMs: number;
  dueAt: number;
}

interface WaitingJob extends Timed {
  name: JobName;
  payload: unknown;
  key: string | undefined;
  attempt: number;
}

/** What is known of a key that is taken. */
interface KeyState {
  runs: boolean;
  /** A job of this key that was added while another one ran. */
  next?: WaitingJob;
}

interface Schedule extends Timed {
  name: JobName;
  payload: unknown;
}

/**
 * A queue inside one process. Its jobs are lost when the process ends, and its timers do not keep the process alive.
 */
export function createInProcessQueue(options: InProcessOptions): Queue {
  const { onError, observer, now = Date.now, retryDelayMs = RETRY_DELAY_MS } = options;
  const waiting = new Set<WaitingJob>();
  const schedules = new Map<string, Schedule>();
  const keys = new Map<string, KeyState>();
  const running = new Set<Promise<void>>();
  const runningOf = new Map<JobName, number>();
  const closing = new AbortController();
  let handlers: JobHandlers | undefined;
  let concurrency: WorkOptions['concurrency'] = {};
  let timer: NodeJS.Timeout | undefined;

  function enqueue(name: JobName, payload: unknown, { key, delayMs = 0 }: AddOptions, at: number): void {
    const ownKey = key === undefined ? undefined : `${name} ${key}`;
    const job = { name, payload, key: ownKey, attempt: 1, waitMs: delayMs, dueAt: at + delayMs };
    const taken = ownKey === undefined ? undefined : keys.get(ownKey);
    if (!taken) wait(job);
    else if (taken.runs) taken.next = job;
  }

  function wait(job: WaitingJob): void {
    if (job.key !== undefined) keys.set(job.key, { runs: false });
    waiting.add(job);
  }

  function dispatch(): void {
    clearTimeout(timer);
    if (handlers === undefined || closing.signal.aborted) return;
    // The clock is read once: what became due between two readings would neither be started nor wake the queue.
    const at = now();
    for (const [id, schedule] of schedules) if (isDue(schedule, at)) startSchedule(id, schedule, at);
    for (const job of waiting) if (isDue(job, at) && hasRoom(job.name)) start(handlers, job);
    wakeLater(at);
  }

  function hasRoom(name: JobName): boolean {
    return (runningOf.get(name) ?? 0) < (concurrency?.[name] ?? 1);
  }

  function startSchedule(id: string, schedule: Schedule, at: number): void {
    const key = `every ${id}`;
    // A turn whose last run is still running is left out.
    if (!keys.has(`${schedule.name} ${key}`)) enqueue(schedule.name, schedule.payload, { key }, at);
    schedule.dueAt = at + schedule.waitMs;
  }

  function start(to: JobHandlers, job: WaitingJob): void {
    waiting.delete(job);
    if (job.key !== undefined) keys.set(job.key, { runs: true });
    countRunning(job.name, 1);
    const run = attempt(to, job).finally(() => {
      running.delete(run);
      countRunning(job.name, -1);
      dispatch();
    });
    running.add(run);
  }

  function countRunning(name: JobName, change: number): void {
    runningOf.set(name, (runningOf.get(name) ?? 0) + change);
  }

  async function attempt(to: JobHandlers, job: WaitingJob): Promise<void> {
    try {
      await runJob(to, { ...job, signal: closing.signal }, observer);
    } catch (error) {
      // SQL still holds the rest of the work, and the next process begins with a sweep.
      if (error instanceof HandedBack) return;
      const final = job.attempt >= ATTEMPTS_MAX;
      onError(error, { name: job.name, attempt: job.attempt, final });
      if (!final) return retry(job);
    }
    if (job.key !== undefined) release(job.key);
  }

  function release(key: string): void {
    const next = keys.get(key)?.next;
    keys.delete(key);
    if (next) wait(next);
  }

  function retry(job: WaitingJob): void {
    const waitMs = retryDelayMs * 2 ** (job.attempt - 1);
    wait({ ...job, attempt: job.attempt + 1, waitMs, dueAt: now() + waitMs });
  }

  function wakeLater(at: number): void {
    // A job that is due and waits for room is started when a running job ends.
    const times = [...waiting, ...schedules.values()].map(({ dueAt }) => dueAt - at).filter((wait) => wait > 0);
    if (times.length === 0) return;
    timer = setTimeout(dispatch, Math.min(TICK_MAX_MS, ...times));
    timer.unref();
  }

  function refuseClosed(): void {
    if (closing.signal.aborted) throw new Error('the queue is closed');
  }

  return {
    async add(name, payload, options = {}) {
      refuseClosed();
      enqueue(name, parsePayload(name, payload), options, now());
      dispatch();
    },
    async every(name, periodMs, payload) {
      refuseClosed();
      const parsed = parsePayload(name, payload);
      const id = scheduleId(name, parsed);
      const known = schedules.get(id);
      if (known?.waitMs === periodMs) return;
      schedules.set(id, { name, payload: parsed, waitMs: periodMs, dueAt: now() });
      dispatch();
    },
    async work(to, options = {}) {
      refuseClosed();
      if (handlers) throw new Error('this queue runs jobs already');
      handlers = to;
      concurrency = options.concurrency ?? {};
      dispatch();
    },
    async countWaiting() {
      const at = now();
      const due = [...waiting].filter((job) => isDue(job, at));
      return new Map(jobNames.map((name) => [name, due.filter((job) => job.name === name).length]));
    },
    async close() {
      closing.abort(new HandedBack());
      clearTimeout(timer);
      await Promise.all(running);
    },
  };
}

// If the clock was set back, nothing waits longer than it was meant to.
function isDue(timed: Timed, at: number): boolean {
  timed.dueAt = Math.min(timed.dueAt, at + timed.waitMs);
  return timed.dueAt <= at;
}
