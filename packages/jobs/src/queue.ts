import { jobPayloads } from '@cardea/contracts/jobs';
import type { JobName, JobPayload } from '@cardea/contracts/jobs';

/** How often a job is tried in all, before it is given up. What is still due is found by the next sweep. */
export const ATTEMPTS_MAX = 5;

/** The wait before the second attempt; doubles with each one (1, 2, 4, 8 s). */
export const RETRY_DELAY_MS = 1000;

export type JobHandlers = { [N in JobName]: (payload: JobPayload<N>) => Promise<void> };

export interface AddOptions {
  /** While a job of this name and key waits, runs or will be tried again, adding another does nothing. */
  key?: string;
  delayMs?: number;
}

export interface WorkOptions {
  /** How many jobs this process runs side by side. */
  concurrency?: number;
}

/**
 * Spreads work over time and processes; it does not remember it. What is due lives in SQL, so a job may be lost (a
 * sweep finds it again) and may run twice: handlers are idempotent. Payloads carry ids only.
 */
export interface Queue {
  /** @throws ZodError if the payload is not what the contract says; Error if the queue cannot be reached */
  add<N extends JobName>(name: N, payload: JobPayload<N>, options?: AddOptions): Promise<void>;
  /**
   * Runs the job now and then every period, in whichever process works. The same name and payload registered again, by
   * any process, is the same schedule. A run that comes due while the one before still runs may be left out.
   */
  every<N extends JobName>(name: N, periodMs: number, payload: JobPayload<N>): Promise<void>;
  /**
   * Begins to run jobs, once a process. A handler that throws is tried again, ATTEMPTS_MAX times in all.
   */
  work(handlers: JobHandlers, options?: WorkOptions): Promise<void>;
  /** Takes no new job, and resolves when the running ones have ended. */
  close(): Promise<void>;
}

/** A failed attempt, for the log. */
export interface FailedJob {
  name: string;
  /** 1 for the first. */
  attempt: number;
  /** True if it will not be tried again. */
  final: boolean;
}

/** Called for every failed attempt and, without a job, for trouble with the queue itself. */
export type OnJobError = (error: unknown, job?: FailedJob) => void;

/** @throws ZodError if the payload is not what the contract says */
export function parsePayload<N extends JobName>(name: N, payload: unknown): JobPayload<N> {
  return jobPayloads[name].parse(payload) as JobPayload<N>;
}

export function isJobName(name: string): name is JobName {
  return Object.hasOwn(jobPayloads, name);
}

/** One name for a schedule in all processes: the job's name, and the payload where it has one. */
export function scheduleId<N extends JobName>(name: N, payload: JobPayload<N>): string {
  const text = JSON.stringify(payload);
  // BullMQ splits its keys at colons.
  return text === '{}' ? name : `${name} ${encodeURIComponent(text)}`;
}

/** Checks the payload again, for whoever filled the queue need not be this version of the code. */
export async function runHandler<N extends JobName>(handlers: JobHandlers, name: N, payload: unknown): Promise<void> {
  const handler: (payload: JobPayload<N>) => Promise<void> = handlers[name];
  await handler(parsePayload(name, payload));
}
