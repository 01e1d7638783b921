import { AppError } from '@cardea/contracts/errors';

export interface TokenBucketOptions {
  perSecond: number;
  burst: number;
  /** In milliseconds. */
  now: () => number;
}

/** A token bucket for each name: how much may be done at once, and how fast it may go on. */
export interface TokenBuckets {
  /** @throws AppError `rate_limited` if `name` has fewer than `count` tokens; then none is taken */
  take(name: string, count: number): void;
}

/** Names come from certificates of our own CA, so there are few and none is ever forgotten. */
export function createTokenBuckets({ perSecond, burst, now }: TokenBucketOptions): TokenBuckets {
  const buckets = new Map<string, { tokens: number; at: number }>();
  return {
    take(name, count) {
      const at = now();
      const last = buckets.get(name) ?? { tokens: burst, at };
      const tokens = Math.min(burst, last.tokens + (Math.max(0, at - last.at) / 1_000) * perSecond);
      const missing = Math.max(0, count - tokens);
      buckets.set(name, { tokens: missing > 0 ? tokens : tokens - count, at });
      if (missing > 0) {
        throw new AppError('rate_limited', `more than ${perSecond} a second`, {
          retryAfterSeconds: Math.ceil(missing / perSecond),
          rule: 'unwrap_rate',
        });
      }
    },
  };
}
