import { AppError } from '@cardea/contracts/errors';
import { createTokenBuckets } from '@cardea/http/server/token-buckets';

const PER_SECOND = 200;
const BURST = 1_000;

/** How many DEKs a peer may unwrap: each has its own bucket, and there are so few peers that none is ever forgotten. */
export interface UnwrapLimit {
  /** @throws AppError `rate_limited` if `peer` may not unwrap as many as `count` now; then none is counted */
  take(peer: string, count: number): void;
}

/** `now` in milliseconds. */
export function createUnwrapLimit(now: () => number): UnwrapLimit {
  const buckets = createTokenBuckets({ perSecond: PER_SECOND, burst: BURST, now });
  return {
    take(peer, count) {
      const { missing } = buckets.take(peer, count);
      if (missing === 0) return;
      throw new AppError('rate_limited', `more than ${PER_SECOND} a second`, {
        retryAfterSeconds: Math.ceil(missing / PER_SECOND),
        rule: 'unwrap-rate',
      });
    },
  };
}
