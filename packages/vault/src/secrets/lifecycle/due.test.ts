import { expect, test } from '@jest/globals';
import { dueAt, expiryOf } from './due.ts';

test.each([
  [null, null, null],
  [5, null, 5],
  [null, 5, 5],
  [5, 7, 5],
  [7, 5, 5],
])('a secret with the expiry %j and a version with the expiry %j expire at %j', (secret, version, due) => {
  expect(dueAt(secret, version)).toBe(due);
});

test('an expiry is a duration from now, a time, null, or absent', () => {
  expect(expiryOf({ ttlSeconds: 3 }, 1_000)).toBe(4_000);
  expect(expiryOf({ expiresAt: '1970-01-01T00:00:09.5Z' }, 1_000)).toBe(9_500);
  expect(expiryOf({ expiresAt: null }, 1_000)).toBe(null);
  expect(expiryOf({}, 1_000)).toBe(undefined);
});
