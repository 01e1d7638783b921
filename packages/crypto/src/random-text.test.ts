import { expect, test } from '@jest/globals';
import { randomText } from './random-text.ts';

test('has the requested length, and every character of the alphabet about equally often', () => {
  const alphabet = 'abcdefghij';
  const text = randomText(100_000, alphabet);
  expect(text).toMatch(/^[a-j]{100000}$/);
  const counts = Array.from(alphabet, (letter) => text.split(letter).length - 1);
  const chiSquare = counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0);
  // With nine degrees of freedom, the sum exceeds 50 once in ten million runs.
  expect(chiSquare).toBeLessThan(50);
});

test('is new each time', () => {
  expect(new Set(Array.from({ length: 1000 }, () => randomText(16, 'abcdefghij'))).size).toBe(1000);
});
