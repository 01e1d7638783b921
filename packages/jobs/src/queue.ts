import { jobPayloads } from '@cardea/contracts/jobs';
import type { JobName, JobPayload } from '@cardea/contracts/jobs';

/** How many times a job is tried before the queue gives it up. The next sweep finds what is still due. */
export const ATTEMPTS_MAX = 5;

/** The wait before the second attempt. Doubles with each attempt (1, 2, 4, 8 s). */
export const RETRY_DELAY_MS = 1000;

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
  /** While a job of this name and key waits, runs or will be tried again, another `add` does nothing. */
  key?: string;
  delayMs?: number;
}

export interface WorkOptions {
  /** How many jobs this process runs at the same time. */
  concurrency?: number;
}

/**
 * Spreads work over time and processes. SQL holds what is due, not the queue, so a job may be lost (a sweep finds it
 * again) and may run twice (handlers are idempotent). Payloads contain ids only.
 */
export interface Queue {
  /** @throws ZodError if the payload does not match the contract; Error if the queue cannot be reached */
  add<N extends JobName>(name: N, payload: JobPayload<N>, options?: AddOptions): Promise<void>;
  /**
   * Runs the job now and then once every period, in one of the processes that run jobs. The same name and payload,
   * registered again by any process, is the same schedule. A run may be skipped if the previous run is still running.
   */
  every<N extends JobName>(name: N, periodMs: number, payload: JobPayload<N>): Promise<void>;
  /**
   * Starts to run jobs. May be called once per process. A job whose handler throws is tried again, at most ATTEMPTS_MAX
   * times in all.
   */
  work(handlers: JobHandlers, options?: WorkOptions): Promise<void>;
  /** Starts no new job, and resolves when the running jobs have ended. */
  close(): Promise<void>;
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

export function isJobName(name: string): name is JobName {
  return Object.hasOwn(jobPayloads, name);
}

/** The id of a schedule, the same in all processes: the job's name, and its payload if it is not empty. */
export function scheduleId<N extends JobName>(name: N, payload: JobPayload<N>): string {
  const text = JSON.stringify(payload);
  // BullMQ splits its keys at colons.
  return text === '{}' ? name : `${name} ${encodeURIComponent(text)}`;
}

/** Checks the payload again, because another version of the code may have added the job. */
export async function runHandler<N extends JobName>(
  handlers: JobHandlers,
  { name, payload }: { name: N; payload: unknown },
  run: JobRun,
): Promise<void> {
  const handler: (payload: JobPayload<N>, run: JobRun) => Promise<void> = handlers[name];
  await handler(parsePayload(name, payload), run);
}
