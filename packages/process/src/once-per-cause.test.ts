import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { oncePerCause } from './once-per-cause.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test('a failure is told once, again after a minute, and at once if its cause changes or it worked in between', () => {
  const told: unknown[] = [];
  const { failed, worked } = oncePerCause((error) => told.push((error as Error).message));
  const failing = (message: string, code: string) => failed(new Error(message, { cause: new Error(code) }));

  for (let i = 0; i < 240; i += 1) {
    failing(`try ${i}`, 'refused');
    jest.advanceTimersByTime(250);
  }
  expect(told).toEqual(['try 0']);
  failing('a minute later', 'refused');
  failing('another cause', 'full');
  failing('the same', 'full');
  worked();
  failing('anew', 'full');
  expect(told).toEqual(['try 0', 'a minute later', 'another cause', 'anew']);
});
