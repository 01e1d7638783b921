import { jobPayloads } from '@cardea/contracts/jobs';
import type { JobName, JobPayload } from '@cardea/contracts/jobs';

/** How many times a job is tried before the queue gives it up. The next sweep finds what is still due. */
export const ATTEMPTS_MAX = 5;

/** The wait before the second attempt. Doubles with each attempt (1, 2, 4, 8 s). */
export const RETRY_DELAY_MS = 1000;

export const jobNames = Object.keys(jobPayloads) as JobName[];

export type JobHandlers = { [N in JobName]: (payload: JobPayload<N>, run: JobRun) => Promise<void> };

/** One run of a job, as its handler sees it. */
export interface JobRun {
  /**
   * Aborted when the process stops. A long handler calls `signal.throwIfAborted()` between two pages. The queue then
   * gives the job back, so that another process goes on at once.
   */
  readonly signal: AbortSignal;
  /** Says that so many more items are done, for metrics. */
  done(items: number): void;
}

export interface AddOptions {
  /**
   * While a job of this name and key waits or will be tried again, another `add` does nothing. While it runs, however
   * often `add` is called, one more job follows it: the run may have looked before what it should have found was there.
   */
  key?: string;
  delayMs?: number;
}

export interface WorkOptions {
  /**
   * How many jobs of a name run at the same time in this process. The jobs of a name that is not listed run one at a
   * time, in all processes together.
   */
  concurrency?: Partial<Record<JobName, number>>;
}

/**
 * Spreads work over time and processes. SQL holds what is due, not the queue, so a job may be lost (a sweep finds it
 * again) and may run twice (handlers are idempotent). Payloads contain ids only. Each name has a queue of its own, so
 * that long jobs of one name do not hold up another.
 */
export interface Queue {
  /** @throws ZodError if the payload does not match the contract; QueueUnavailable */
  add<N extends JobName>(name: N, payload: JobPayload<N>, options?: AddOptions): Promise<void>;
  /**
   * Runs the job now and then once every period, in one of the processes that run jobs. The same name and payload,
   * registered again by any process, is the same schedule. A run may be skipped if the previous run is still running.
   * Turns that were missed, because no process ran or because the clock jumped forward, are one run. If the clock is
   * set back, the schedule goes on within a minute.
   */
  every<N extends JobName>(name: N, periodMs: number, payload: JobPayload<N>): Promise<void>;
  /**
   * Starts to run jobs. May be called once per process. A job whose handler throws is tried again, at most ATTEMPTS_MAX
   * times in all.
   */
  work(handlers: JobHandlers, options?: WorkOptions): Promise<void>;
  /** How many jobs of each name are due and have not begun, in all processes. @throws QueueUnavailable */
  countWaiting(): Promise<Map<JobName, number>>;
  /** Starts no new job, aborts the signal of the running jobs, and resolves when they have ended or are given back. */
  close(): Promise<void>;
}

/** The queue cannot be reached. Trying later may help. */
export class QueueUnavailable extends Error {
  override name = 'QueueUnavailable';
}

/** Why the signal of a run is aborted. A handler that throws it has stopped half way, without a failure. */
export class HandedBack extends Error {
  override name = 'HandedBack';

  constructor() {
    super('the process stops: another one goes on with the job');
  }
}

/** How a run ended. */
export type JobOutcome = 'done' | 'failed' | 'handed-back';

/** Learns of the runs of this process, for metrics. */
export interface JobObserver {
  started(name: JobName): void;
  done(name: JobName, items: number): void;
  ended(name: JobName, run: { outcome: JobOutcome; seconds: number }): void;
}

/** A failed attempt of a job, for the log. */
export interface FailedJob {
  name: string;
  /** 1 for the first attempt. */
  attempt: number;
  /** True if it will not be tried again. */
  final: boolean;
}

/** Called for every failed attempt, and without a job for an error of the queue itself. */
export type OnJobError = (error: unknown, job?: FailedJob) => void;

/** @throws ZodError if the payload does not match the contract */
export function parsePayload<N extends JobName>(name: N, payload: unknown): JobPayload<N> {
  return jobPayloads[name].parse(payload) as JobPayload<N>;
}

/** The id of a schedule, the same in all processes: the job's name, and its payload if it is not empty. */
export function scheduleId<N extends JobName>(name: N, payload: JobPayload<N>): string {
  const text = JSON.stringify(payload);
  // BullMQ splits its keys at colons.
  return text === '{}' ? name : `${name} ${encodeURIComponent(text)}`;
}

/** Runs the handler of a job and tells the observer. @throws what the handler throws; ZodError for a bad payload */
export async function runJob<N extends JobName>(
  handlers: JobHandlers,
  { name, payload, signal }: { name: N; payload: unknown; signal: AbortSignal },
  observer: JobObserver | undefined,
): Promise<void> {
  const began = performance.now();
  let outcome: JobOutcome = 'failed';
  observer?.started(name);
  const done = (items: number): void => observer?.done(name, items);
  try {
    const handler: (payload: JobPayload<N>, run: JobRun) => Promise<void> = handlers[name];
    // Checked again, because another version of the code may have added the job.
    await handler(parsePayload(name, payload), { signal, done });
    outcome = 'done';
  } catch (error) {
    if (error instanceof HandedBack) outcome = 'handed-back';
    throw error;
  } finally {
    observer?.ended(name, { outcome, seconds: (performance.now() - began) / 1000 });
  }
}
