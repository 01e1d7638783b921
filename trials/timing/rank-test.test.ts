import { expect, test } from '@jest/globals';
import { mannWhitney, median } from './rank-test.ts';

test('two samples that do not overlap have the known p', () => {
  // U = 0, mean 12.5, variance 25 · 11 / 12: z = 2.6112.
  const { u, p } = mannWhitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]);
  expect(u).toBe(0);
  expect(p).toBeCloseTo(0.009_023, 5);
});

test('ties share a rank, and equal samples do not differ', () => {
  // Ranks 1, 3, 3, 5 and 3, 6, 7, 8; one group of three: variance 16 / 12 · (9 - 24 / 56), z = 1.7748.
  const { u, p } = mannWhitney([1, 2, 2, 3], [2, 4, 5, 6]);
  expect(u).toBe(2);
  expect(p).toBeCloseTo(0.075_927, 5);
  expect(mannWhitney([1, 2, 3], [1, 2, 3]).p).toBeCloseTo(1, 6);
  expect(mannWhitney([7, 7], [7, 7]).p).toBeCloseTo(1, 6);
});

test('400 values show a shift by a quarter of their range, and no shift when they are only reordered', () => {
  const values = Array.from({ length: 400 }, (_, i) => (i * 7_919) % 401);
  expect(mannWhitney(values, values.toReversed()).p).toBeCloseTo(1, 6);
  const shifted = values.map((value) => value + 100);
  expect(mannWhitney(values, shifted).p).toBeLessThan(1e-6);
  expect(median(shifted) - median(values)).toBe(100);
});

test('the median is the middle value, or the mean of the two middle values', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});
