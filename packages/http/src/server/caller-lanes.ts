import { AppError } from '@cardea/contracts/errors';
import type { SteadyClock } from '@cardea/contracts/steady-clock';

/** How many requests of one caller are handled at once while others call: more than its batches that may wait for a turn. */
const BESIDE_OTHERS_MAX = 48;
/** How many of a caller wait at most. */
const WAITING_MAX = 256;
/** Others call if one has begun a request in this time. */
const RECENT_MS = 10_000;

/**
 * Lets no caller fill the event loop (I9). Each request under way takes some of it between two steps of every other
 * request, so a caller with hundreds would slow all others by hundreds. While a caller is alone it may have as many as it
 * likes. Beside others at most 48 are handled at once, and 256 more wait in their order.
 */
export interface CallerLanes {
  /**
   * Resolves when the request may be handled; undefined if that is now. Call `leave` once it is handled.
   * @throws AppError `rate_limited` if too many wait; then call nothing
   */
  enter(key: string): Promise<void> | undefined;
  leave(key: string): void;
  /** Says that somebody calls who has no lane. */
  noteStranger(): void;
}

interface Lane {
  handled: number;
  waiting: (() => void)[];
}

export function createCallerLanes({ steadyMs }: { steadyMs: SteadyClock }): CallerLanes {
  const lanes = new Map<string, Lane>();
  // Who called last, and who called last of the others: nobody else need be remembered.
  let latest = { key: '', at: -RECENT_MS };
  let latestOther = latest;

  function note(key: string): void {
    if (latest.key !== key) latestOther = latest;
    latest = { key, at: steadyMs() };
  }

  function isAlone(key: string): boolean {
    const other = latest.key === key ? latestOther : latest;
    return steadyMs() - other.at >= RECENT_MS;
  }

  return {
    enter(key) {
      note(key);
      const lane = lanes.get(key) ?? { handled: 0, waiting: [] };
      if (lane.waiting.length >= WAITING_MAX) throw tooMany();
      lanes.set(key, lane);
      if (lane.handled < BESIDE_OTHERS_MAX || isAlone(key)) {
        lane.handled += 1;
        return undefined;
      }
      return new Promise((resolve) => void lane.waiting.push(resolve));
    },
    noteStranger: () => note(''),
    leave(key) {
      const lane = lanes.get(key)!;
      lane.handled -= 1;
      while (lane.waiting.length > 0 && (lane.handled < BESIDE_OTHERS_MAX || isAlone(key))) {
        lane.handled += 1;
        lane.waiting.shift()!();
      }
      if (lane.handled === 0) lanes.delete(key);
    },
  };
}

function tooMany(): AppError {
  const message = 'too many requests of yours wait to be handled';
  return new AppError('rate_limited', message, { rule: 'under-way', retryAfterSeconds: 1 });
}
