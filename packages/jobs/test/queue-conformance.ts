import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { jobPayloads } from '@cardea/contracts/jobs';
import type { JobName } from '@cardea/contracts/jobs';
import { ATTEMPTS_MAX } from '../src/queue.ts';
import type { FailedJob, JobHandlers, JobObserver, JobRun, OnJobError, Queue } from '../src/queue.ts';

export interface QueueOptions {
  onError: OnJobError;
  observer?: JobObserver;
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
    /** What the observer of the queue was told. */
    let seen: unknown[];

    beforeEach(() => {
      failures = [];
      seen = [];
      queues = create();
      queue = queues.open({ onError: (_, job) => failures.push(job), observer: observerOf(seen), retryDelayMs: 10 });
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
      await queue.work(runs.handlers());
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

    test('jobs with the same key that wait are one job, and jobs with other keys are not', async () => {
      const runs = new Runs();
      await queue.add('outbox.relay', {}, { key: 'a' });
      await queue.add('outbox.relay', {}, { key: 'a' });
      await queue.add('outbox.relay', {}, { key: 'b' });
      await queue.add('session.sweep', {}, { key: 'a' });
      await queue.work(runs.handlers());
      await Promise.all([runs.reach('outbox.relay', 2), runs.reach('session.sweep', 1)]);
      await addUntil(runs, 'outbox.relay', 3, () => queue.add('outbox.relay', {}, { key: 'a' }));
      expect(runs.count('session.sweep')).toBe(1);
    });

    test('jobs that are added while one of their key runs are one job that runs after it', async () => {
      const runs = new Runs();
      const gate = Promise.withResolvers<void>();
      let most = 0;
      let now = 0;
      const busy = async () => {
        now += 1;
        most = Math.max(most, now);
        await gate.promise;
        now -= 1;
      };
      await queue.add('outbox.relay', {}, { key: 'a' });
      await queue.work(runs.handlers({ 'outbox.relay': busy }), { concurrency: { 'outbox.relay': 4 } });
      await runs.reach('outbox.relay', 1);
      for (let i = 0; i < 3; i += 1) await queue.add('outbox.relay', {}, { key: 'a' });
      // Another key shows that there was room for more.
      await queue.add('outbox.relay', {}, { key: 'b' });
      await runs.reach('outbox.relay', 2);
      gate.resolve();
      await runs.reach('outbox.relay', 3);
      await queue.add('session.sweep', {});
      await runs.reach('session.sweep', 1);
      expect({ runs: runs.count('outbox.relay'), most }).toEqual({ runs: 3, most: 2 });
      await addUntil(runs, 'outbox.relay', 4, () => queue.add('outbox.relay', {}, { key: 'a' }));
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

    test.each([
      ['as many as the process allows', { 'outbox.relay': 2 }, 2],
      ['one at a time, if nothing is said', {}, 1],
    ])('jobs of a name run at the same time: %s', async (_what, concurrency, allowed) => {
      let now = 0;
      let most = 0;
      const runs = new Runs();
      const busy = async () => {
        most = Math.max(most, (now += 1));
        await new Promise((resolve) => setTimeout(resolve, 2));
        now -= 1;
      };
      for (let i = 0; i < 6; i += 1) await queue.add('outbox.relay', {});
      await queue.work(runs.handlers({ 'outbox.relay': busy }), { concurrency });
      await runs.reach('outbox.relay', 6);
      expect(most).toBe(allowed);
    });

    test('a job that takes long does not hold up jobs of other names', async () => {
      const runs = new Runs();
      const gate = Promise.withResolvers<void>();
      await queue.work(runs.handlers({ 'outbox.relay': () => gate.promise }));
      await queue.add('outbox.relay', {});
      await runs.reach('outbox.relay', 1);
      await queue.add('session.sweep', {});
      await runs.reach('session.sweep', 1);
      gate.resolve();
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
      await queue.work(runs.handlers({ 'outbox.relay': slow }));
      await queue.add('outbox.relay', {});
      await runs.reach('outbox.relay', 1);
      await queue.add('outbox.relay', {});
      const closed = queue.close().then(() => ended);
      gate.resolve();
      expect(await closed).toBe(true);
      expect(runs.count('outbox.relay')).toBe(1);
      await expect(queue.add('outbox.relay', {})).rejects.toThrow();
    });

    test('close tells the running job, and a job that stops half way is no failure', async () => {
      const runs = new Runs();
      await queue.work(runs.handlers({ 'outbox.relay': (_payload, run) => pagesUntilStopped(run) }));
      await queue.add('outbox.relay', {});
      await runs.reach('outbox.relay', 1);
      await queue.close();
      expect(failures).toEqual([]);
      expect(seen.at(-1)).toEqual(['ended', 'outbox.relay', 'handed-back']);
    });

    test('an observer learns of each run, of what is done, and how it ended', async () => {
      const runs = new Runs();
      const failOnce = async (_payload: object, run: JobRun) => {
        run.done(7);
        if (runs.count('outbox.relay') === 1) throw new Error('not yet');
      };
      await queue.work(runs.handlers({ 'outbox.relay': failOnce }));
      await queue.add('outbox.relay', {});
      await runs.reach('outbox.relay', 2);
      await queue.close();
      const run = [
        ['started', 'outbox.relay'],
        ['done', 'outbox.relay', 7],
      ];
      const [failed, done] = [
        ['ended', 'outbox.relay', 'failed'],
        ['ended', 'outbox.relay', 'done'],
      ];
      expect(seen).toEqual([...run, failed, ...run, done]);
    });

    test('the jobs that wait are counted: those that are due and have not begun', async () => {
      const runs = new Runs();
      const gate = Promise.withResolvers<void>();
      const counts = async () => {
        const waiting = await queue.countWaiting();
        return [waiting.get('outbox.relay'), waiting.get('session.sweep')];
      };
      expect(await counts()).toEqual([0, 0]);
      for (let i = 0; i < 3; i += 1) await queue.add('outbox.relay', {});
      await queue.add('session.sweep', {}, { delayMs: 3_600_000 });
      expect(await counts()).toEqual([3, 0]);
      await queue.work(runs.handlers({ 'outbox.relay': () => gate.promise }));
      await runs.reach('outbox.relay', 1);
      expect(await counts()).toEqual([2, 0]);
      gate.resolve();
      await runs.reach('outbox.relay', 3);
      expect(await counts()).toEqual([0, 0]);
    });
  });
}

function observerOf(seen: unknown[]): JobObserver {
  return {
    started: (name) => seen.push(['started', name]),
    done: (name, items) => seen.push(['done', name, items]),
    ended: (name, { outcome }) => seen.push(['ended', name, outcome]),
  };
}

/** A job that goes on until its process stops. */
export async function pagesUntilStopped({ signal }: JobRun): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    signal.throwIfAborted();
  }
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
export async function addUntil(runs: Runs, name: JobName, count: number, add: () => Promise<void>): Promise<void> {
  while (runs.count(name) < count) {
    await add();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
