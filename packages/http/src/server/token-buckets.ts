/** A token bucket for each key: how much may be done at once, and how fast it may go on. */
export interface TokenBuckets {
  /** Takes all of `count` tokens, or none of them if there are fewer. */
  take(key: string, count: number): Taken;
}

/** What came of it. */
export interface Taken {
  /** How many whole tokens are left. */
  left: number;
  /** How many there were too few; then none was taken. */
  missing: number;
}

export interface TokenBucketOptions {
  perSecond: number;
  /** How many a bucket holds when it is full, as it is at first. */
  burst: number;
  /** In milliseconds, since whenever. */
  now: () => number;
}

// As many are remembered; of more, the one that was seen first is forgotten, and would find a full bucket.
const KEYS_MAX = 10_000;

/** A limit that costs a lookup. */
export function createTokenBuckets({ perSecond, burst, now }: TokenBucketOptions): TokenBuckets {
  const buckets = new Map<string, { tokens: number; at: number }>();

  function bucketOf(key: string, at: number): { tokens: number; at: number } {
    const known = buckets.get(key);
    if (known) return known;
    if (buckets.size >= KEYS_MAX) buckets.delete(buckets.keys().next().value!);
    const bucket = { tokens: burst, at };
    buckets.set(key, bucket);
    return bucket;
  }

  return {
    take(key, count) {
      const at = now();
      const bucket = bucketOf(key, at);
      // A clock that stepped back fills nothing, and takes nothing away.
      bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, at - bucket.at) / 1_000) * perSecond);
      bucket.at = at;
      const missing = Math.max(0, count - bucket.tokens);
      if (missing === 0) bucket.tokens -= count;
      return { left: Math.floor(bucket.tokens), missing };
    },
  };
}
