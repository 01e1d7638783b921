import type { JobObserver, Queue } from '@cardea/jobs/queue';
import { jobNames } from '@cardea/jobs/queue';
import type { Logger } from '@cardea/process/logger';
import { tellAbsentMetrics } from '@cardea/process/metrics';
import type { VaultContext } from '@cardea/vault/context';
import { SECOND_MS } from '@cardea/contracts/durations';
import { oldestDue } from '@cardea/vault/due-work';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

/** What a scrape asks of a process that runs jobs. */
interface Asked {
  vault: VaultContext;
  queue: Pick<Queue, 'countWaiting'>;
  logger: Logger;
}

/**
 * Counts the runs of this process. Register the observer with its queue. The label is not `job`, because Prometheus
 * gives that one to every series.
 */
export function createJobObserver(registry: Registry): JobObserver {
  const registers = [registry];
  const running = new Gauge({
    name: 'cardea_jobs_running',
    help: 'Jobs that this process runs now.',
    labelNames: ['job_name'],
    registers,
  });
  const runs = new Counter({
    name: 'cardea_job_runs_total',
    help: 'Ended runs of jobs in this process, by outcome: done, failed, handed-back (the process stopped).',
    labelNames: ['job_name', 'outcome'],
    registers,
  });
  const items = new Counter({
    name: 'cardea_job_items_total',
    help: 'Items that jobs of this process have handled, such as expired secrets.',
    labelNames: ['job_name'],
    registers,
  });
  const seconds = new Histogram({
    name: 'cardea_job_duration_seconds',
    help: 'Time of a run.',
    labelNames: ['job_name'],
    buckets: [0.01, 0.05, 0.25, 1, 5, 15, 60, 300, 1800],
    registers,
  });
  // So that a job which has never run or failed is 0 and not absent.
  for (const job of jobNames) {
    running.set({ job_name: job }, 0);
    items.inc({ job_name: job }, 0);
    for (const outcome of ['done', 'failed', 'handed-back']) runs.inc({ job_name: job, outcome }, 0);
  }
  return {
    started: (job) => running.inc({ job_name: job }),
    done: (job, count) => items.inc({ job_name: job }, count),
    ended(job, run) {
      running.dec({ job_name: job });
      runs.inc({ job_name: job, outcome: run.outcome });
      seconds.observe({ job_name: job }, run.seconds);
    },
  };
}

/**
 * Shows how many jobs wait and how late due work is. Both are asked for at each scrape, and are the same in every process.
 * If Redis or the database does not answer, they are absent from that scrape, and the log says why.
 */
export function showDueWork(registry: Registry, { vault, queue, logger }: Asked): void {
  const registers = [registry];
  const asking = { registers, logger };
  gauge(asking, {
    name: 'cardea_jobs_waiting',
    help: 'Jobs of all processes that are due and have not begun.',
    label: 'job_name',
    ask: () => queue.countWaiting(),
  });
  gauge(asking, {
    name: 'cardea_due_lag_seconds',
    help: 'For how long the oldest due work of a kind has been due; 0 if nothing is due.',
    label: 'kind',
    async ask() {
      const now = vault.now().getTime();
      const oldest = await oldestDue(vault);
      return new Map(oldest.map(({ kind, at }) => [kind, at === undefined ? 0 : Math.max(0, now - at) / SECOND_MS]));
    },
  });
}

interface AskedGauge {
  name: string;
  help: string;
  label: string;
  ask(): Promise<Map<string, number>>;
}

function gauge({ registers, logger }: { registers: Registry[]; logger: Logger }, asked: AskedGauge): void {
  const { name, help, label, ask } = asked;
  const { failed, worked } = tellAbsentMetrics(logger);
  const shown = new Gauge({
    name,
    help,
    labelNames: [label],
    registers,
    async collect() {
      this.reset();
      try {
        for (const [value, count] of await ask()) this.set({ [label]: value }, count);
        worked();
      } catch (error) {
        failed(error);
      }
    },
  });
  shown.reset();
}
