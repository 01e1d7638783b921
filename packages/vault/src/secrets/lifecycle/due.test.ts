import { describe, expect, test } from '@jest/globals';
import { dueAt, expiryOf, nextAnnouncement } from './due.ts';

test.each([
  [null, null, null],
  [5, null, 5],
  [null, 5, 5],
  [5, 7, 5],
  [7, 5, 5],
])('a value of a secret that ends at %j, in a version that ends at %j, ends at %j', (secret, version, due) => {
  expect(dueAt(secret, version)).toBe(due);
});

describe('an end at 100, with leads of 30, 7 and 1, is announced', () => {
  const ctx = { settings: { expiryLeadsMs: [7, 30, 1], trashMs: 0 } };

  test.each([
    [0, 70],
    [69, 70],
    [70, 93],
    [92, 93],
    [93, 99],
    [98, 99],
    [99, null],
    [100, null],
    [500, null],
  ])('seen at %j, next at %j', (after, at) => {
    expect(nextAnnouncement(ctx, 100, after)).toBe(at);
  });

  test('never, without an end or without a lead', () => {
    expect(nextAnnouncement(ctx, null, 0)).toBe(null);
    expect(nextAnnouncement({ settings: { expiryLeadsMs: [], trashMs: 0 } }, 100, 0)).toBe(null);
  });
});

test('an end is counted from now, or named, or taken away, or not spoken of', () => {
  expect(expiryOf({ ttlSeconds: 3 }, 1_000)).toBe(4_000);
  expect(expiryOf({ expiresAt: '1970-01-01T00:00:09.5Z' }, 1_000)).toBe(9_500);
  expect(expiryOf({ expiresAt: null }, 1_000)).toBe(null);
  expect(expiryOf({}, 1_000)).toBe(undefined);
});
