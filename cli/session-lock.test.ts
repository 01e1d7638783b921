import { mkdtempSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { lock } from './session-lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'cardea-lock-'));
const file = join(folder, 'lock');
afterAll(() => rmSync(folder, { recursive: true }));

/** No process has an id this high. */
const KILLED = '99999999 nonce';

function leave(content: string, ageSeconds = 0): void {
  writeFileSync(file, content);
  const then = Date.now() / 1_000 - ageSeconds;
  utimesSync(file, then, then);
}

test.each([
  ['of a process that was killed', KILLED, 0],
  ['of one that was killed before it wrote', '', 10],
  ['older than any refresh', `${process.pid} nonce`, 600],
  ['without an owner, from a clock that was ahead', '', -600],
])('of many who find a lock %s, one at a time takes it over', async (_whose, content, ageSeconds) => {
  leave(content, ageSeconds);
  let holders = 0;
  const most: number[] = [];
  const hold = async () => {
    const unlock = await lock(file);
    most.push((holders += 1));
    await new Promise(setImmediate);
    holders -= 1;
    unlock();
  };
  await Promise.all(Array.from({ length: 5 }, hold));
  expect(most).toEqual([1, 1, 1, 1, 1]);
  expect(readdirSync(folder)).toEqual([]);
});

test('whoever lost a lock to somebody else does not remove it', async () => {
  const unlock = await lock(file);
  leave(`${process.pid} of somebody else`);
  unlock();
  expect(readFileSync(file, 'utf8')).toBe(`${process.pid} of somebody else`);
  rmSync(file);
});

test('while one process takes a left-over away, no other does, unless it was killed over it', async () => {
  leave(KILLED);
  writeFileSync(`${file}.turn`, '');
  let isLocked = false;
  const locked = lock(file).finally(() => (isLocked = true));
  await new Promise(setImmediate);
  expect([isLocked, readFileSync(file, 'utf8')]).toEqual([false, KILLED]);
  utimesSync(`${file}.turn`, 0, 0);
  (await locked)();
  expect(readdirSync(folder)).toEqual([]);
});
