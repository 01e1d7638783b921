import { describe, expect, jest, test } from '@jest/globals';
import { createSlowWork } from './slow-work.ts';

/** Work that ends when it is told to. */
function stoppable() {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { work: () => promise, stop: resolve };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('slow work', () => {
  test('runs two at a time, and gives each caller a turn', async () => {
    const slow = createSlowWork();
    const blocks = [stoppable(), stoppable()];
    const blocked = blocks.map(({ work }) => slow.use('alice', work));
    const order: string[] = [];
    const note = (name: string) => async () => void order.push(name);
    const rest = [
      ...['a1', 'a2', 'a3'].map((name) => slow.use('alice', note(name))),
      ...['b1', 'b2'].map((name) => slow.use('bob', note(name))),
    ];
    await settle();
    expect(order).toEqual([]);
    for (const { stop } of blocks) stop();
    await Promise.all([...blocked, ...rest]);
    // Two callers wait, and two places came free at once.
    expect(order.toSorted()).toEqual(['a1', 'a2', 'a3', 'b1', 'b2']);
    expect(order.indexOf('b1')).toBeLessThan(order.indexOf('a2'));
    expect(order.indexOf('b2')).toBeLessThan(order.indexOf('a3'));
  });

  test('that fails frees its place', async () => {
    const slow = createSlowWork();
    const failing = Array.from({ length: 5 }, () => slow.use('alice', () => Promise.reject(new Error('no'))));
    for (const one of await Promise.allSettled(failing)) expect(one.status).toBe('rejected');
    expect(await slow.use('alice', async () => 'done')).toBe('done');
  });

  test('that gets no turn in time is refused, and the rest keeps its order', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    try {
      const slow = createSlowWork();
      const block = stoppable();
      const taken = Array.from({ length: 2 }, () => slow.use('alice', block.work));
      const late = expect(slow.use('bob', block.work)).rejects.toMatchObject({ code: 'unavailable' });
      jest.advanceTimersByTime(10_000);
      const inTime = slow.use('bob', async () => 'done');
      jest.advanceTimersByTime(5_000);
      await late;
      block.stop();
      expect(await inTime).toBe('done');
      await Promise.all(taken);
    } finally {
      jest.useRealTimers();
    }
  });

  test('of one caller waits up to a limit, and others still have room', async () => {
    const slow = createSlowWork();
    const block = stoppable();
    const taken = Array.from({ length: 2 + 256 }, () => slow.use('alice', block.work));
    await expect(slow.use('alice', block.work)).rejects.toMatchObject({ code: 'rate_limited', retryAfterSeconds: 1 });
    const others = Array.from({ length: 7 * 256 }, (_, i) => slow.use(`caller-${i % 7}`, block.work));
    await expect(slow.use('late', block.work)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 });
    block.stop();
    await Promise.all([...taken, ...others]);
  });

  test('that makes a key goes beside the uses of keys, one at a time', async () => {
    const slow = createSlowWork();
    const [first, second] = [stoppable(), stoppable()];
    let made = 0;
    const making = [first, second].map(({ work }) => slow.generate('alice', () => work().then(() => void (made += 1))));
    expect(await slow.use('alice', async () => 'signed')).toBe('signed');
    second.stop();
    await settle();
    expect(made).toBe(0);
    first.stop();
    await Promise.all(making);
  });

  test('that makes keys waits four times for each caller', async () => {
    const slow = createSlowWork();
    const block = stoppable();
    const making = Array.from({ length: 5 }, () => slow.generate('alice', block.work));
    await expect(slow.generate('alice', block.work)).rejects.toMatchObject({ code: 'rate_limited' });
    making.push(slow.generate('bob', block.work));
    block.stop();
    await Promise.all(making);
  });
});
