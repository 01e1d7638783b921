import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { pauseIfLong } from './long-work.ts';

// Only the work moves the clock: on a busy machine a step would take longer than it should, and count for more.
beforeEach(() => {
  const real = ['setImmediate', 'nextTick', 'queueMicrotask', 'setTimeout', 'setInterval', 'Date', 'hrtime'] as const;
  jest.useFakeTimers({ doNotFake: [...real] });
});
afterEach(() => {
  jest.useRealTimers();
});

/** Work of steps that keep the event loop. The default is a bit more than a slice. */
async function work(
  log: string[],
  name: string,
  pause: () => Promise<void> | undefined,
  { steps = 3, stepMs = 5 } = {},
): Promise<void> {
  for (let step = 1; step <= steps; step++) {
    await pause();
    log.push(`${name}${step}`);
    jest.advanceTimersByTime(stepMs);
  }
}

test('callers go on one after the other, however much of each waits, and what others wait for goes between', async () => {
  const log: string[] = [];
  const many = ['a', 'b', 'c', 'd'].map((name) => work(log, name, () => pauseIfLong('alice')));
  const one = work(log, 'x', () => pauseIfLong('bob'));
  const held = work(log, 'w', () => pauseIfLong());
  await Promise.all([...many, one, held]);
  expect(log).toHaveLength(18);
  // Six first steps were begun at once. Then neither of the others waits for more than one of the twelve of alice at a time.
  const [lastOfOne, lastOfHeld] = [log.indexOf('x3'), log.indexOf('w3')];
  expect(lastOfHeld).toBeLessThan(11);
  expect(lastOfOne).toBeLessThan(14);
  expect(log.slice(14).join('')).toMatch(/^[a-d\d]+$/);
});

test('a caller whose steps are long has fewer of them', async () => {
  const log: string[] = [];
  const long = work(log, 'l', () => pauseIfLong('alice'), { steps: 8, stepMs: 30 });
  const short = work(log, 's', () => pauseIfLong('bob'), { steps: 20, stepMs: 1 });
  await Promise.all([long, short]);
  expect(log.indexOf('s20')).toBeLessThan(log.indexOf('l8'));
});
