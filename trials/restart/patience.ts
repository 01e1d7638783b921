import { setTimeout as sleep } from 'node:timers/promises';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { FrontDoor } from '../kill/front-door.ts';
import { Violation } from '../kill/ledger.ts';
import type { Ledger } from '../kill/ledger.ts';
import type { Send } from '../load/mix.ts';

/**
 * How many times a request is repeated, at intervals of Retry-After: a service starts in about two seconds, and the clients
 * of an api-service that restarts have another one.
 */
const REPEATS_MAX = 3;

/** What repetition was needed for. */
export interface Repeated {
  /** Requests that were answered 503 at first, by how many times. */
  refused: Map<number, number>;
  /** Requests on a kept connection that the server had closed meanwhile. They were sent again on a new one. */
  onClosed: number;
  longestMs: number;
}

/**
 * Returns a `Send` that does what a careful client does: after a 503 it waits for Retry-After and repeats the request, and
 * on a kept connection that was closed it sends the request once more. Every answer is noted in the ledger.
 */
export function sendPatiently(
  door: FrontDoor,
  { ledger, session, repeated }: { ledger: Ledger; session: { token: string }; repeated: Repeated },
): Send {
  return async (action, request) => {
    const began = performance.now();
    for (let refused = 0; ;) {
      const outcome = await door.send({ ...request, token: session.token });
      const answer = ledger.note(action, outcome);
      const lastedMs = performance.now() - began;
      repeated.longestMs = Math.max(repeated.longestMs, lastedMs);
      if (answer?.status === 404) throw new Violation(`${request.path} was answered 404`);
      if (answer) {
        if (refused > 0) repeated.refused.set(refused, (repeated.refused.get(refused) ?? 0) + 1);
        return answer;
      }
      if (outcome.kind === 'answered') {
        refused += 1;
        if (refused > REPEATS_MAX) throw new Violation(`${action} is refused after ${REPEATS_MAX} repetitions`);
        await sleep((outcome.retryAfterSeconds ?? 0) * SECOND_MS);
      } else if (outcome.kind === 'cut' && outcome.isReused) {
        repeated.onClosed += 1;
      } else {
        throw new Violation(`${action} was not answered: ${outcome.kind}`);
      }
    }
  };
}
