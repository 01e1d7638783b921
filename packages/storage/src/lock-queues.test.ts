import { expect, test } from '@jest/globals';
import { LockQueues } from './lock-queues.ts';
import { inOrder } from './postgres-locks.ts';
import type { Locks } from './db.ts';

const refuse = (isOwn: boolean) => new Error(isOwn ? 'own' : 'all');

/** Transactions that end when the test says so. `log` has those that began, in order. */
function held({ waitingMax = 10, ownWaitingMax = 10, waitMs = 60_000 } = {}) {
  const queues = new LockQueues({ waitingMax, ownWaitingMax, waitMs, refuse });
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  const hold = (name: string, { by, ...locks }: Locks) => {
    const work = () => {
      log.push(name);
      return new Promise<void>((resolve) => void ends.set(name, resolve));
    };
    return queues.hold(inOrder(locks), work, by);
  };
  const end = async (name: string) => {
    ends.get(name)!();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { log, hold, end };
}

const shared = (name: string) => ({ shared: [name] });
const alone = (name: string) => ({ exclusive: [name] });

test('a lock is shared by several or held by one, in the order in which they came', async () => {
  const { log, hold, end } = held();
  const all = [hold('s1', shared('v')), hold('s2', shared('v')), hold('x', alone('v')), hold('s3', shared('v'))];
  all.push(hold('s4', shared('v')), hold('other', alone('w')));
  expect(log).toEqual(['s1', 's2', 'other']);
  await end('s1');
  expect(log).toHaveLength(3);
  await end('s2');
  expect(log.slice(3)).toEqual(['x']);
  await end('x');
  expect(log.slice(4)).toEqual(['s3', 's4']);
  for (const name of ['s3', 's4', 'other']) await end(name);
  await Promise.all(all);
});

test('two that want the same locks in another order do not wait for each other', async () => {
  const { log, hold, end } = held();
  const all = [hold('one', { exclusive: ['a', 'b'] }), hold('two', { exclusive: ['b', 'a'] })];
  await end('one');
  await end('two');
  await Promise.all(all);
  expect(log).toEqual(['one', 'two']);
});

test('who waits too long is refused, gives back what it held, and lets in those behind it', async () => {
  const { log, hold, end } = held({ waitMs: 20 });
  const first = hold('first', shared('v'));
  const late = hold('late', { exclusive: ['v', 'w', 'x', 'y'] });
  const behind = hold('behind', shared('v'));
  await expect(late).rejects.toThrow('all');
  expect(log).toEqual(['first', 'behind']);
  const others = ['w', 'x', 'y'].map((name) => hold(name, alone(name)));
  expect(log.slice(2)).toEqual(['w', 'x', 'y']);
  for (const name of log) await end(name);
  await Promise.all([first, behind, ...others]);
});

test('too many that wait are refused, those of one owner first', async () => {
  const { hold, end } = held({ waitingMax: 3, ownWaitingMax: 1 });
  const all = [hold('a1', { ...alone('v'), by: 'a' }), hold('a2', { ...alone('v'), by: 'a' })];
  await expect(hold('a3', { ...alone('v'), by: 'a' })).rejects.toThrow('own');
  all.push(hold('b1', { ...alone('v'), by: 'b' }), hold('c1', { ...alone('v'), by: 'c' }));
  await expect(hold('d1', { ...alone('v'), by: 'd' })).rejects.toThrow('all');
  for (const name of ['a1', 'a2', 'b1', 'c1']) await end(name);
  await Promise.all(all);
});

test('work that throws gives its locks back', async () => {
  const queues = new LockQueues({ waitingMax: 1, waitMs: 60_000, refuse: () => new Error('all') });
  const broken = queues.hold(inOrder(alone('v')), () => Promise.reject(new RangeError('broken')));
  const next = queues.hold(inOrder(alone('v')), async () => 'next');
  await expect(broken).rejects.toThrow(RangeError);
  expect(await next).toBe('next');
});
