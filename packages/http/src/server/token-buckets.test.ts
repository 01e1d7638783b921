import { expect, test } from '@jest/globals';
import { createTokenBuckets } from './token-buckets.ts';

test('a burst empties the bucket, time fills it, and no time fills it beyond the burst', () => {
  let now = 0;
  const buckets = createTokenBuckets({ perSecond: 200, burst: 1_000, now: () => now });
  expect(buckets.take('api-service', 1_000)).toEqual({ left: 0, missing: 0 });
  expect(buckets.take('api-service', 1)).toEqual({ left: 0, missing: 1 });
  now += 1_000;
  expect(buckets.take('api-service', 201)).toEqual({ left: 200, missing: 1 });
  expect(buckets.take('api-service', 200)).toEqual({ left: 0, missing: 0 });
  now += 3_600_000;
  expect(buckets.take('api-service', 1_001)).toEqual({ left: 1_000, missing: 1 });
  expect(buckets.take('api-service', 1_000)).toEqual({ left: 0, missing: 0 });
});

test('half a token is not enough: nothing is taken, and half a token is missing', () => {
  let now = 0;
  const buckets = createTokenBuckets({ perSecond: 1, burst: 2, now: () => now });
  buckets.take('a', 2);
  now += 500;
  expect(buckets.take('a', 1)).toEqual({ left: 0, missing: 0.5 });
  now += 500;
  expect(buckets.take('a', 1)).toEqual({ left: 0, missing: 0 });
});

test('one key does not use the tokens of another', () => {
  const buckets = createTokenBuckets({ perSecond: 200, burst: 1_000, now: () => 0 });
  buckets.take('api-service', 1_000);
  expect(buckets.take('worker', 1_000)).toEqual({ left: 0, missing: 0 });
});

test('a clock that steps back takes no tokens away', () => {
  let now = 10_000;
  const buckets = createTokenBuckets({ perSecond: 200, burst: 1_000, now: () => now });
  buckets.take('worker', 400);
  now = 0;
  expect(buckets.take('worker', 600)).toEqual({ left: 0, missing: 0 });
});

test('of ten thousand and one keys only the first is forgotten', () => {
  const buckets = createTokenBuckets({ perSecond: 1, burst: 5, now: () => 0 });
  for (let i = 0; i <= 10_000; i += 1) buckets.take(`key ${i}`, 5);
  expect(buckets.take('key 1', 1).missing).toBe(1);
  expect(buckets.take('key 10000', 1).missing).toBe(1);
  expect(buckets.take('key 0', 1).missing).toBe(0);
});
