import type { JobName, JobPayload } from '@cardea/contracts/jobs';
import type { Queue as BullQueue, JobsOptions } from 'bullmq';
import type { Redis } from 'ioredis';
import { scheduleId } from './queue.ts';
import type { OnJobError } from './queue.ts';

/** How many delayed jobs of a name are checked at a time, the latest first. */
const DELAYED_MAX = 100;
/** Redis and the processes may have slightly different clocks. */
const TOLERANCE_MS = 1000;

export interface Schedules {
  add<N extends JobName>(name: N, periodMs: number, payload: JobPayload<N>): Promise<void>;
  /** Whether the jobs of a name run one at a time in all processes, or several together. */
  limit(name: JobName, how: 'alone' | 'together'): Promise<void>;
  stop(): void;
}

interface Keeping {
  queues: Map<JobName, BullQueue>;
  connection: Redis;
  /** The options of every run. */
  template: JobsOptions;
  checkMs: number;
  onError: OnJobError;
}

/**
 * Registers schedules and checks them again and again. A check writes again what Redis has lost. If the clock was
 * set back, it also restarts schedules and delayed jobs that would otherwise wait until the clock is where it was.
 */
export function keepSchedules({ queues, connection, template, checkMs, onError }: Keeping): Schedules {
  const checks = new Set<() => Promise<void>>();
  const timer = setInterval(() => void checkAll(), checkMs).unref();

  async function checkAll(): Promise<void> {
    const delayed = [...queues.values()].map((queue) => () => promoteLate(queue, connection));
    for (const check of [...checks, ...delayed]) await check().catch(onError);
  }

  return {
    async add(name, periodMs, payload) {
      const queue = queues.get(name)!;
      const id = scheduleId(name, payload);
      // To register a known schedule again changes nothing: the next run keeps its time.
      const register = async () => {
        await queue.upsertJobScheduler(id, { every: periodMs }, { name, data: payload, opts: template });
      };
      checks.add(async () => {
        const { next = 0 } = (await queue.getJobScheduler(id)) ?? {};
        if (next > Date.now() + periodMs + TOLERANCE_MS) await queue.removeJobScheduler(id);
        await register();
      });
      await register();
    },
    async limit(name, how) {
      const queue = queues.get(name)!;
      const write = async () => {
        await (how === 'alone' ? queue.setGlobalConcurrency(1) : queue.removeGlobalConcurrency());
      };
      checks.add(write);
      await write();
    },
    stop: () => clearInterval(timer),
  };
}

// A job waits as long as its delay. One that has to wait longer was delayed before the clock was set back.
async function promoteLate(queue: BullQueue, connection: Redis): Promise<void> {
  const found = await connection.zrange(queue.toKey('delayed'), `-${DELAYED_MAX}`, '-1', 'WITHSCORES');
  for (let i = 0; i < found.length; i += 2) {
    // The score of a delayed job is its time with twelve more bits, which keep the order.
    const waitMs = Number(found[i + 1]) / 0x1000 - Date.now();
    const job = await queue.getJob(found[i]!);
    // The next run of a schedule is checked with its schedule.
    if (!job || job.repeatJobKey !== undefined) continue;
    if (waitMs > job.delay + TOLERANCE_MS) await job.promote();
  }
}
