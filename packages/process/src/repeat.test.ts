import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { repeat } from './repeat.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test('work runs once per period until disposal, even after a failure', async () => {
  const errors: unknown[] = [];
  let runs = 0;
  const work = async () => {
    runs += 1;
    if (runs === 2) throw new Error('once');
  };
  const repeated = repeat(1_000, work, (error) => errors.push(error));
  await jest.advanceTimersByTimeAsync(3_500);
  expect([runs, errors]).toEqual([3, [new Error('once')]]);

  await repeated[Symbol.asyncDispose]();
  await jest.advanceTimersByTimeAsync(3_000);
  expect(runs).toBe(3);
});

test('work that takes longer than a period does not run twice at the same time, and disposal waits for it', async () => {
  const steps: string[] = [];
  const ending = Promise.withResolvers<void>();
  const work = async () => {
    steps.push('began');
    await ending.promise;
    steps.push('ended');
  };
  const repeated = repeat(1_000, work, () => {});
  await jest.advanceTimersByTimeAsync(2_500);
  expect(steps).toEqual(['began']);

  const disposed = Promise.resolve(repeated[Symbol.asyncDispose]()).then(() => steps.push('disposed of'));
  await jest.advanceTimersByTimeAsync(1_000);
  ending.resolve();
  await disposed;
  expect(steps).toEqual(['began', 'ended', 'disposed of']);
});

test('an error that goes on is told once, and again after the work has succeeded', async () => {
  const errors: unknown[] = [];
  let isBroken = true;
  const work = async () => {
    if (isBroken) throw new Error('broken');
  };
  const repeated = repeat(1_000, work, (error) => errors.push(error));
  await jest.advanceTimersByTimeAsync(5_500);
  expect(errors).toHaveLength(1);
  isBroken = false;
  await jest.advanceTimersByTimeAsync(1_000);
  isBroken = true;
  await jest.advanceTimersByTimeAsync(2_000);
  expect(errors).toHaveLength(2);
  await repeated[Symbol.asyncDispose]();
});
