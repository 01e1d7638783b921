import { AppError } from '@cardea/contracts/errors';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import { createTokenBuckets } from '@cardea/http/server/token-buckets';

const PER_SECOND = 200;
const BURST = 1_000;

/** Limits the DEKs that a peer may unwrap. Each peer has its own bucket. Peers are few, so no bucket is removed. */
export interface UnwrapLimit {
  /** @throws AppError `rate_limited` if `peer` may not unwrap `count` DEKs now; then none is counted */
  take(peer: string, count: number): void;
}

export function createUnwrapLimit(steadyMs: SteadyClock): UnwrapLimit {
  const buckets = createTokenBuckets({ perSecond: PER_SECOND, burst: BURST, now: steadyMs });
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
