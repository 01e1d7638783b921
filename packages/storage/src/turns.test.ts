import { expect, test } from '@jest/globals';
import { Turns } from './turns.ts';
import type { TurnLimits } from './turns.ts';

const refuse = (isOwn: boolean) => new Error(isOwn ? 'own' : 'all');
const limits = { atOnce: 2, waitingMax: 4, ownWaitingMax: 2, waitMs: 60_000, refuse };

/** Work by owners that ends when the test says so. `log` has who began, in order. */
function held(changed: Partial<TurnLimits> = {}) {
  let now = 0;
  const turns = new Turns({ ...limits, steadyMs: () => now, ...changed });
  const log: string[] = [];
  const ends: (() => void)[] = [];
  const take = (name: string, by?: string) =>
    turns.take(() => {
      log.push(name);
      return new Promise<void>((resolve) => void ends.push(resolve));
    }, by);
  const endFirst = async (tookMs = 1) => {
    now += tookMs;
    ends.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { turns, log, take, endFirst };
}

test('an owner has one turn at a time, and another does not wait behind its work', async () => {
  const { log, take, endFirst } = held();
  const all = [take('a1', 'a'), take('a2', 'a'), take('a3', 'a'), take('b1', 'b'), take('c1', 'c')];
  expect(log).toEqual(['a1', 'b1']);
  await endFirst();
  expect(log).toEqual(['a1', 'b1', 'c1']);
  await endFirst();
  expect(log).toEqual(['a1', 'b1', 'c1', 'a2']);
  for (const _ of all) await endFirst();
  await Promise.all(all);
  expect(log).toHaveLength(5);
});

test('too many that wait are refused, those of one owner first', async () => {
  const { turns, take, endFirst } = held();
  const all = [take('a1', 'a'), take('a2', 'a'), take('a3', 'a')];
  await expect(take('a4', 'a')).rejects.toThrow('own');
  all.push(take('b1', 'b'), take('c1', 'c'), take('c2', 'c'));
  expect(turns.waiting).toBe(4);
  await expect(take('d1', 'd')).rejects.toThrow('all');
  for (const _ of all) await endFirst();
  await Promise.all(all);
  await expect(Promise.all([take('d1', 'd'), endFirst()])).resolves.toBeDefined();
});

test('what waits too long is refused and never begins', async () => {
  const { log, take, endFirst } = held({ atOnce: 1, waitMs: 1 });
  const first = take('first', 'a');
  await expect(take('late', 'b')).rejects.toThrow('all');
  await expect(take('late', 'a')).rejects.toThrow('own');
  await endFirst();
  await first;
  expect(log).toEqual(['first']);
});

test('work that throws gives its turn to the next', async () => {
  const { turns, take, log, endFirst } = held({ atOnce: 1 });
  await expect(turns.take(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  const next = take('next');
  const last = turns.takeLast(async () => void log.push('last'));
  await endFirst();
  await Promise.all([next, last]);
  expect(log).toEqual(['next', 'last']);
});

test('owners who wait have turns one after the other, and the last comes after all of them', async () => {
  const { turns, log, take, endFirst } = held({ atOnce: 1, waitingMax: 9, ownWaitingMax: 9 });
  const all = ['a1', 'a2', 'a3', 'a4'].map((name) => take(name, 'a'));
  const last = turns.takeLast(async () => void log.push('last'));
  all.push(take('b1', 'b'), take('b2', 'b'), take('none1'), take('none2'));
  await endFirst();
  all.push(take('c1', 'c'));
  for (const _ of all) await endFirst();
  await Promise.all([...all, last]);
  expect(log).toEqual(['a1', 'b1', 'none1', 'c1', 'a2', 'b2', 'none2', 'a3', 'a4', 'last']);
});

test('an owner has a share, and whoever has the least at work is next', async () => {
  const { log, take, endFirst } = held({ atOnce: 4, ownAtOnce: 3, waitingMax: 9, ownWaitingMax: 9 });
  const all = ['a1', 'a2', 'a3', 'a4', 'a5'].map((name) => take(name, 'a'));
  all.push(take('b1', 'b'), take('none'), take('b2', 'b'), take('c1', 'c'));
  expect(log).toEqual(['a1', 'a2', 'a3', 'b1']);
  for (const _ of all) await endFirst();
  expect(log.slice(4)).toEqual(['none', 'c1', 'a4', 'b2', 'a5']);
  await Promise.all(all);
});

test('an owner whose turns take long waits until the turns of another have taken as long', async () => {
  const { log, take, endFirst } = held({ atOnce: 1, waitingMax: 9, ownWaitingMax: 9 });
  const all = [take('long1', 'a'), take('long2', 'a')];
  all.push(...['b1', 'b2', 'b3', 'b4', 'b5'].map((name) => take(name, 'b')));
  await endFirst(3);
  for (let i = 0; i < 6; i += 1) await endFirst(1);
  await Promise.all(all);
  expect(log).toEqual(['long1', 'b1', 'b2', 'b3', 'long2', 'b4', 'b5']);
});

test('an owner who has just come is before one that used much, and has saved up nothing while it was away', async () => {
  const { log, take, endFirst } = held({ atOnce: 1, waitingMax: 9, ownWaitingMax: 9 });
  const all = [take('a1', 'a'), take('a2', 'a'), take('a3', 'a')];
  await endFirst(100);
  all.push(take('new1', 'b'), take('new2', 'b'), take('new3', 'b'));
  await endFirst(100);
  for (let i = 0; i < 5; i += 1) await endFirst(60);
  await Promise.all(all);
  expect(log).toEqual(['a1', 'a2', 'new1', 'new2', 'a3', 'new3']);
});

test('what an owner has used while it was alone is no debt', async () => {
  const { log, take, endFirst } = held({ atOnce: 1, waitingMax: 9, ownWaitingMax: 9 });
  const alone = take('alone', 'a');
  await endFirst(20_000);
  await alone;
  const all = [take('b1', 'b'), take('b2', 'b'), take('b3', 'b'), take('a1', 'a')];
  for (let i = 0; i < 4; i += 1) await endFirst(100);
  await Promise.all(all);
  expect(log.indexOf('a1')).toBeLessThan(log.indexOf('b3'));
});

test('an owner who has used much is next after a while, however many others come once each', async () => {
  const { log, take, endFirst } = held({ atOnce: 1, waitingMax: 9, ownWaitingMax: 9 });
  const all = [take('long1', 'a'), take('long2', 'a')];
  for (let i = 0; i < 100; i += 1) {
    all.push(take(`once${i}`, `network ${i}`), take(`again${i}`, `network ${i + 1000}`));
    await endFirst(i === 0 ? 50 : 1);
    await endFirst(1);
  }
  while (log.length < all.length) await endFirst(1);
  await endFirst(1);
  await Promise.all(all);
  // Three owners share the time, so a debt of 50 ms is paid after a hundred turns of one.
  expect(log.indexOf('long2')).toBeLessThan(130);
});
