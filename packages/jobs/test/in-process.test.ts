import { HOUR_MS } from '@cardea/contracts/durations';
import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { createInProcessQueue } from '../src/in-process.ts';
import type { Queue } from '../src/queue.ts';
import { Runs, describeQueue } from './queue-conformance.ts';

describeQueue('the in-process queue', () => ({ open: createInProcessQueue, remove: async () => undefined }));

test('a job becomes due by the clock of the queue', async () => {
  let now = 0;
  const runs = new Runs();
  const queue = createInProcessQueue({ onError: () => undefined, now: () => now });
  await queue.work(runs.handlers());
  await queue.add('outbox.relay', {}, { delayMs: 3_600_000 });
  await queue.add('session.sweep', {});
  await runs.reach('session.sweep', 1);
  expect(runs.count('outbox.relay')).toBe(0);
  now = 3_600_000;
  await runs.reach('outbox.relay', 1);
  await queue.close();
});

test.each([
  ['a schedule', (queue: Queue) => queue.every('outbox.relay', 60_000, {}), 1],
  ['a delayed job', (queue: Queue) => queue.add('outbox.relay', {}, { delayMs: 60_000 }), 0],
])('%s waits no longer than it was meant to, if the clock is set back by two hours', async (_what, add, runsAtOnce) => {
  let now = 10 * HOUR_MS;
  const runs = new Runs();
  const queue = createInProcessQueue({ onError: () => undefined, now: () => now });
  await queue.work(runs.handlers());
  await add(queue);
  await runs.reach('outbox.relay', runsAtOnce);
  now -= 2 * HOUR_MS;
  // Another job shows that the queue has looked at its clock, and that nothing ran too soon.
  await queue.add('session.sweep', {});
  await runs.reach('session.sweep', 1);
  expect(runs.count('outbox.relay')).toBe(runsAtOnce);
  now += 60_000;
  await runs.reach('outbox.relay', runsAtOnce + 1);
  await queue.close();
});

test('turns that a jump of the clock has passed over are one run', async () => {
  let now = 0;
  const runs = new Runs();
  const queue = createInProcessQueue({ onError: () => undefined, now: () => now });
  await queue.work(runs.handlers());
  await queue.every('outbox.relay', 60_000, {});
  await runs.reach('outbox.relay', 1);
  now += 100 * 60_000;
  await runs.reach('outbox.relay', 2);
  await queue.add('session.sweep', {});
  await runs.reach('session.sweep', 1);
  expect(runs.count('outbox.relay')).toBe(2);
  await queue.close();
});

test('a schedule registered with a new period runs at the new period', async () => {
  const runs = new Runs();
  const queue = createInProcessQueue({ onError: () => undefined });
  await queue.work(runs.handlers());
  await queue.every('outbox.relay', 3_600_000, {});
  await queue.every('outbox.relay', 5, {});
  await runs.reach('outbox.relay', 4);
  await queue.close();
});

test.each([1, 2, 3, 4, 5, 6, 7, 8])(
  'a job that is due in %d ms runs, while each reading of the clock takes a millisecond',
  async (delayMs) => {
    let now = 0;
    const runs = new Runs();
    const queue = createInProcessQueue({ onError: () => undefined, now: () => now++ });
    await queue.work(runs.handlers());
    await queue.add('outbox.relay', {}, { delayMs });
    await runs.reach('outbox.relay', 1);
    await queue.close();
  },
);

test('a schedule does not keep the process alive', () => {
  const script = `
    import { createInProcessQueue } from ${JSON.stringify(new URL('../src/in-process.ts', import.meta.url).href)};
    const queue = createInProcessQueue({ onError: console.error });
    await queue.work({ 'outbox.relay': async () => {}, 'session.sweep': async () => {} });
    await queue.every('outbox.relay', 60_000, {});`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 });
  expect([status, String(stderr)]).toEqual([0, '']);
});
