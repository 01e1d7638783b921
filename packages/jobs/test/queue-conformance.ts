import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { jobPayloads } from '@cardea/contracts/jobs';
import type { JobName } from '@cardea/contracts/jobs';
import { ATTEMPTS_MAX } from '../src/queue.ts';
import type { FailedJob, JobHandlers, JobRun, OnJobError, Queue } from '../src/queue.ts';

export interface QueueOptions {
  onError: OnJobError;
  retryDelayMs: number;
}

export interface TestQueues {
  /** Opens the same queue, as another process would if the adapter allows several. */
  open(options: QueueOptions): Queue;
  remove(): Promise<void>;
}

/** Tests what every adapter of `Queue` promises. */
export function describeQueue(name: string, create: () => TestQueues): void {
  describe(name, () => {
    let queues: TestQueues;
    let queue: Queue;
    let failures: (FailedJob | undefined)[];

    beforeEach(() => {
      failures = [];
      queues = create();
      queue = queues.open({ onError: (_, job) => failures.push(job), retryDelayMs: 10 });
    });

    afterEach(async () => {
      await queue.close();
      await queues.remove();
    });

    test('a job added before any process runs jobs runs once a process does', async () => {
      const runs = new Runs();
      await queue.add('outbox.relay', {});
      await queue.work(runs.handlers());
      await runs.reach('outbox.relay', 1);
    });

    test('a job added while a process runs jobs is run by the handler of its name', async () => {
      const runs = new Runs();
      await queue.work(runs.handlers());
      await queue.add('session.sweep', {});
      await runs.reach('session.sweep', 1);
      expect(runs.count('outbox.relay')).toBe(0);
    });

    test('a delayed job runs after a job added later without a delay', async () => {
      const runs = new Runs();
      await queue.work(runs.handlers(), { concurrency: 1 });
      const begun = performance.now();
      await queue.add('outbox.relay', {}, { delayMs: 200 });
      await queue.add('session.sweep', {});
      await runs.reach('outbox.relay', 1);
      expect(runs.order).toEqual(['session.sweep', 'outbox.relay']);
      // Timers are rounded to a millisecond on both sides.
      expect(performance.now() - begun).toBeGreaterThan(195);
    });

    test('a job whose payload does not match the contract is not added', async () => {
      const secret = { value: 'hunter2' } as unknown as Record<string, never>;
      await expect(queue.add('outbox.relay', secret)).rejects.toHaveProperty('name', 'ZodError');
      await expect(queue.every('outbox.relay', 1000, secret)).rejects.toHaveProperty('name', 'ZodError');
      const runs = new Runs();
      await queue.work(runs.handlers());
      await queue.add('session.sweep', {});
      await runs.reach('session.sweep', 1);
      expect(runs.count('outbox.relay')).toBe(0);
    });

    test('jobs with the same key are one job until that job has ended', async () => {
      const runs = new Runs();
      const gate = Promise.withResolvers<void>();
      await queue.add('outbox.relay', {}, { key: 'a' });
      await queue.add('outbox.relay', {}, { key: 'a' });
      await queue.work(runs.handlers({ 'outbox.relay': () => gate.promise }));
      await runs.reach('outbox.relay', 1);
      await queue.add('outbox.relay', {}, { key: 'a' });
      await queue.add('outbox.relay', {}, { key: 'b' });
      await queue.add('session.sweep', {}, { key: 'a' });
      await Promise.all([runs.reach('outbox.relay', 2), runs.reach('session.sweep', 1)]);
      gate.resolve();
      await addUntil(runs, 'outbox.relay', 3, () => queue.add('outbox.relay', {}, { key: 'a' }));
    });

    test('a job that throws is tried again until it succeeds, and each failure is reported', async () => {
      const runs = new Runs();
      const failTwice = async () => {
        if (runs.count('outbox.relay') < 3) throw new Error('not yet');
      };
      await queue.work(runs.handlers({ 'outbox.relay': failTwice }));
      await queue.add('outbox.relay', {});
      await runs.reach('outbox.relay', 3);
      expect(failures).toEqual([
        { name: 'outbox.relay', attempt: 1, final: false },
        { name: 'outbox.relay', attempt: 2, final: false },
      ]);
    });

    test('a job that always throws is given up after growing waits, and its key is free again', async () => {
      const runs = new Runs();
      const gaveUp = Promise.withResolvers<void>();
      const times: number[] = [];
      await queue.close();
      queue = queues.open({
        retryDelayMs: 20,
        onError: (_, job) => {
          times.push(performance.now());
          if (job?.final) gaveUp.resolve();
        },
      });
      await queue.work(runs.handlers({ 'outbox.relay': () => Promise.reject(new Error('never')) }));
      await queue.add('outbox.relay', {}, { key: 'a' });
      await gaveUp.promise;
      expect(runs.count('outbox.relay')).toBe(ATTEMPTS_MAX);
      // 20 + 40 + 80 + 160 ms, less the delay of the first report. Without growing waits it would be 80.
      expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(200);
      await addUntil(runs, 'outbox.relay', ATTEMPTS_MAX + 1, () => queue.add('outbox.relay', {}, { key: 'a' }));
    });

    test('at most `concurrency` jobs run at the same time', async () => {
      let now = 0;
      let most = 0;
      const runs = new Runs();
      const busy = async () => {
        most = Math.max(most, (now += 1));
        await new Promise((resolve) => setImmediate(resolve));
        now -= 1;
      };
      for (let i = 0; i < 6; i += 1) await queue.add('outbox.relay', {});
      await queue.work(runs.handlers({ 'outbox.relay': busy }), { concurrency: 2 });
      await runs.reach('outbox.relay', 6);
      expect(most).toBe(2);
    });

    test('a schedule runs as soon as it is registered', async () => {
      const runs = new Runs();
      await queue.work(runs.handlers());
      await queue.every('outbox.relay', 3_600_000, {});
      await runs.reach('outbox.relay', 1);
    });

    test('a schedule registered twice runs once per period', async () => {
      const runs = new Runs();
      const begun = performance.now();
      await queue.every('outbox.relay', 300, {});
      await queue.every('outbox.relay', 300, {});
      await queue.work(runs.handlers());
      await runs.reach('outbox.relay', 4);
      // BullMQ's periods are aligned to the clock, so the first may be short.
      expect(performance.now() - begun).toBeGreaterThan(590);
    });

    test('close waits for the running job and starts no other', async () => {
      const runs = new Runs();
      const gate = Promise.withResolvers<void>();
      let ended = false;
      const slow = async () => {
        await gate.promise;
        ended = true;
      };
      await queue.work(runs.handlers({ 'outbox.relay': slow }), { concurrency: 1 });
      await queue.add('outbox.relay', {});
      await runs.reach('outbox.relay', 1);
      await queue.add('session.sweep', {});
      const closed = queue.close().then(() => ended);
      gate.resolve();
      expect(await closed).toBe(true);
      expect(runs.count('session.sweep')).toBe(0);
      await expect(queue.add('outbox.relay', {})).rejects.toThrow();
    });
  });
}

/** Counts the runs of jobs, and lets a test wait for them. */
export class Runs {
  readonly order: JobName[] = [];
  readonly #waiting = new Set<() => void>();

  handlers(does: Partial<JobHandlers> = {}): JobHandlers {
    const handler = (name: JobName) => async (payload: object, run: JobRun) => {
      this.order.push(name);
      for (const check of this.#waiting) check();
      await does[name]?.(payload as never, run);
    };
    const names = Object.keys(jobPayloads) as JobName[];
    return Object.fromEntries(names.map((name) => [name, handler(name)])) as unknown as JobHandlers;
  }

  count(name: JobName): number {
    return this.order.filter((ran) => ran === name).length;
  }

  async reach(name: JobName, count: number): Promise<void> {
    const reached = Promise.withResolvers<void>();
    const check = () => void (this.count(name) >= count && reached.resolve());
    this.#waiting.add(check);
    check();
    await reached.promise;
    this.#waiting.delete(check);
  }
}

/** Adds the job until it has run: a key becomes free a moment after its handler has ended. */
async function addUntil(runs: Runs, name: JobName, count: number, add: () => Promise<void>): Promise<void> {
  while (runs.count(name) < count) {
    await add();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
