import { expect, test } from '@jest/globals';
import { createRecentUse } from './recent-use.ts';

test('what was used within the window counts, each id once and each use once', () => {
  let now = 1_000_000;
  const recent = createRecentUse(60_000, () => now);
  for (const id of ['a', 'b', 'a']) recent.note(id);
  expect([recent.distinct(), recent.total(), recent.has('a'), recent.has('c')]).toEqual([2, 3, true, false]);
  now += 30_000;
  recent.note('b');
  now += 30_000;
  expect([recent.distinct(), recent.total(), recent.has('a'), recent.has('b')]).toEqual([1, 1, false, true]);
  now += 30_000;
  expect([recent.distinct(), recent.total()]).toEqual([0, 0]);
});

test('a clock that steps back by a day keeps nothing for a day, and forgets nothing at once', () => {
  let now = 1_000_000_000;
  const recent = createRecentUse(60_000, () => now);
  recent.note('a');
  now -= 86_400_000;
  expect(recent.distinct()).toBe(1);
  now += 60_000;
  expect(recent.distinct()).toBe(0);
});
