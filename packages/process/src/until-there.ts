import { setTimeout as sleep } from 'node:timers/promises';
import { withCause } from './cause.ts';
import type { Logger } from './logger.ts';
import { oncePerCause } from './once-per-cause.ts';

const FIRST_WAIT_MS = 250;
const LAST_WAIT_MS = 5_000;

export interface Waiting {
  /** What is waited for, at the beginning of a log line: `the database`. */
  what: string;
  /** True for an error that another try may not have. Any other error ends the wait. */
  isAway(error: unknown): boolean;
  logger: Pick<Logger, 'warn'>;
}

/**
 * Runs `work` until what it needs is there. For the start of a service: what it needs may start at the same time, or
 * after it, and nobody should have to start it again. It waits 0.25 s after the first failure, and at most 5 s. The log
 * has each cause once, with what to do about it.
 */
export async function untilThere<T>({ what, isAway, logger }: Waiting, work: () => Promise<T>): Promise<T> {
  const { failed } = oncePerCause((error) =>
    logger.warn(`${withCause(`${what} does not answer yet`, error)}; the start goes on when it does`, { error }),
  );
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LAST_WAIT_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!isAway(error)) throw error;
      failed(error);
    }
    await sleep(waitMs);
  }
}
