import { expect, test } from '@jest/globals';
import { createTokenBuckets } from './token-bucket.ts';

test('a burst empties the bucket, time fills it, and no time fills it beyond the burst', () => {
  let now = 0;
  const buckets = createTokenBuckets({ perSecond: 200, burst: 1_000, now: () => now });
  buckets.take('api-service', 1_000);
  expect(() => buckets.take('api-service', 1)).toThrow(expect.objectContaining({ code: 'rate_limited' }));
  now += 1_000;
  expect(() => buckets.take('api-service', 201)).toThrow(expect.objectContaining({ retryAfterSeconds: 1 }));
  buckets.take('api-service', 200);
  now += 3_600_000;
  expect(() => buckets.take('api-service', 1_001)).toThrow(expect.objectContaining({ code: 'rate_limited' }));
  buckets.take('api-service', 1_000);
});

test('what one peer uses up is not missing from another', () => {
  const buckets = createTokenBuckets({ perSecond: 200, burst: 1_000, now: () => 0 });
  buckets.take('api-service', 1_000);
  buckets.take('worker', 1_000);
});

test('a clock that steps back takes no tokens away', () => {
  let now = 10_000;
  const buckets = createTokenBuckets({ perSecond: 200, burst: 1_000, now: () => now });
  buckets.take('worker', 400);
  now = 0;
  buckets.take('worker', 600);
});
