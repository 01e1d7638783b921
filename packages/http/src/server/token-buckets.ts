/** A token bucket for each key. It limits how much may be done at once, and how fast after that. */
export interface TokenBuckets {
  /** Takes `count` tokens, or none if the bucket has fewer. */
  take(key: string, count: number): Taken;
}

/** The result of taking tokens. */
export interface Taken {
  /** The number of whole tokens left. */
  left: number;
  /** The number of tokens that were missing. If it is above zero, none was taken. */
  missing: number;
}

export interface TokenBucketOptions {
  perSecond: number;
  /** The number of tokens in a full bucket. A new bucket is full. */
  burst: number;
  /** In milliseconds since any fixed time. */
  now: () => number;
}

// The limit of remembered keys. A further key replaces the one seen first, which then gets a full bucket again.
const KEYS_MAX = 10_000;

/** A limit that costs one lookup in memory. */
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
      // A clock that steps back neither adds nor takes tokens.
      bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, at - bucket.at) / 1_000) * perSecond);
      bucket.at = at;
      const missing = Math.max(0, count - bucket.tokens);
      if (missing === 0) bucket.tokens -= count;
      return { left: Math.floor(bucket.tokens), missing };
    },
  };
}
