import { expect, test } from '@jest/globals';
import { randomText } from './random-text.ts';

test('has the length asked for, and every character of the alphabet about as often as any other', () => {
  const alphabet = 'abcdefghij';
  const text = randomText(100_000, alphabet);
  expect(text).toMatch(/^[a-j]{100000}$/);
  const counts = Array.from(alphabet, (letter) => text.split(letter).length - 1);
  const chiSquare = counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0);
  // Nine degrees of freedom: beyond 50 once in ten million runs.
  expect(chiSquare).toBeLessThan(50);
});

test('is another one each time', () => {
  expect(new Set(Array.from({ length: 1000 }, () => randomText(16, 'abcdefghij'))).size).toBe(1000);
});
