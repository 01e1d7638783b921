import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { SteadyClock } from '@cardea/contracts/steady-clock';

/** Slows guesses of the passphrase: one attempt at a time; each wrong one doubles the wait, up to a minute. */
export interface UnsealAttempts {
  /**
   * Runs an attempt of `peer`, which names the caller and what it tries. An attempt that throws `access_denied` counts as wrong.
   * @throws AppError `rate_limited` before the wait is over or while another attempt runs
   */
  run<T>(peer: string, attempt: () => Promise<T>): Promise<T>;
}

/** No wait is longer than a minute. */
export function createUnsealAttempts(steadyMs: SteadyClock): UnsealAttempts {
  const failures = new Map<string, { count: number; at: number }>();
  let underWay = false;

  function refuseTooEarly(peer: string): void {
    const failed = failures.get(peer);
    if (!failed) return;
    const delayMs = Math.min(SECOND_MS * 2 ** (failed.count - 1), MINUTE_MS);
    const leftMs = delayMs - (steadyMs() - failed.at);
    if (leftMs > 0) throw tooEarly('the last attempt was wrong', Math.ceil(leftMs / SECOND_MS));
  }

  return {
    async run(peer, attempt) {
      if (underWay) throw tooEarly('another attempt is running', 1);
      refuseTooEarly(peer);
      underWay = true;
      try {
        const result = await attempt();
        failures.delete(peer);
        return result;
      } catch (error) {
        if (error instanceof AppError && error.code === 'access_denied') {
          failures.set(peer, { count: (failures.get(peer)?.count ?? 0) + 1, at: steadyMs() });
        }
        throw error;
      } finally {
        underWay = false;
      }
    },
  };
}

function tooEarly(why: string, retryAfterSeconds: number): AppError {
  return new AppError('rate_limited', `${why}: try again in ${retryAfterSeconds} s`, {
    retryAfterSeconds,
    suspicious: 'unseal_guessing',
  });
}
