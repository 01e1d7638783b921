import { beforeEach, expect, test } from '@jest/globals';
import { createCallerLanes } from './caller-lanes.ts';
import type { CallerLanes } from './caller-lanes.ts';

let now: number;
let lanes: CallerLanes;
let handled: string[];

beforeEach(() => {
  [now, handled] = [0, []];
  lanes = createCallerLanes({ steadyMs: () => now });
});

function enter(key: string, times = 1): void {
  for (let i = 0; i < times; i += 1) {
    const wait = lanes.enter(key);
    if (wait) void wait.then(() => handled.push(key));
    else handled.push(key);
  }
}

async function leave(key: string, times = 1): Promise<void> {
  for (let i = 0; i < times; i += 1) lanes.leave(key);
  await Promise.resolve();
}

const handledOf = (key: string) => handled.filter((one) => one === key).length;

test('a caller who is alone has as many requests handled as it sends', () => {
  enter('a', 200);
  expect(handledOf('a')).toBe(200);
});

test('beside others, a caller has 48 requests handled at once, and the others none the fewer', async () => {
  enter('b');
  await leave('b');
  enter('a', 100);
  expect(handledOf('a')).toBe(48);
  enter('b', 5);
  expect(handledOf('b')).toBe(6);
  await leave('a', 10);
  expect(handledOf('a')).toBe(58);
});

test('what began while a caller was alone goes on, and nothing else of it begins until 48 are left', async () => {
  enter('a', 60);
  enter('b');
  enter('a', 10);
  expect(handledOf('a')).toBe(60);
  await leave('a', 12);
  expect(handledOf('a')).toBe(60);
  await leave('a', 3);
  expect(handledOf('a')).toBe(63);
});

test('somebody who signs in counts as another', () => {
  lanes.noteStranger();
  enter('a', 60);
  expect(handledOf('a')).toBe(48);
});

test('what waits is handled when nobody else has called for ten seconds', async () => {
  enter('b');
  enter('a', 60);
  expect(handledOf('a')).toBe(48);
  now = 10_000;
  await leave('a');
  expect(handledOf('a')).toBe(60);
});
