import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { createInProcessQueue } from '../src/in-process.ts';
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

test('a schedule registered with a new period runs at the new period', async () => {
  const runs = new Runs();
  const queue = createInProcessQueue({ onError: () => undefined });
  await queue.work(runs.handlers());
  await queue.every('outbox.relay', 3_600_000, {});
  await queue.every('outbox.relay', 5, {});
  await runs.reach('outbox.relay', 4);
  await queue.close();
});

test('a schedule does not keep the process alive', () => {
  const script = `
    import { createInProcessQueue } from ${JSON.stringify(new URL('../src/in-process.ts', import.meta.url).href)};
    const queue = createInProcessQueue({ onError: console.error });
    await queue.work({ 'outbox.relay': async () => {}, 'session.sweep': async () => {} });
    await queue.every('outbox.relay', 60_000, {});`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 });
  expect([status, String(stderr)]).toEqual([0, '']);
});
