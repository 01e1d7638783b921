import { openOpsPort } from '@cardea/http/server/ops-port';
import { QueueUnavailable } from '@cardea/jobs/queue';
import type { Running } from '@cardea/process/run';
import { untilThere } from '@cardea/process/until-there';
import { jobConcurrency, jobHandlers, scheduleJobs } from '@cardea/vault/jobs';
import type { WorkerConfig } from './config.ts';
import { createContext } from './context.ts';

/** Starts a worker, which runs the jobs over BullMQ on the same database as api-service. @throws StartError */
export async function startWorker(config: WorkerConfig): Promise<Running> {
  await using starting = new AsyncDisposableStack();
  const ops = await openOpsPort(config);
  starting.defer(() => ops.close());
  const ctx = await createContext(config);
  starting.defer(() => ctx.close());

  const { queue, logger } = ctx;
  // api-service registers them too. So they are there again within a minute if Redis has lost its data, whichever runs.
  await untilThere({ what: 'Redis', isAway: (error) => error instanceof QueueUnavailable, logger }, () =>
    scheduleJobs(queue),
  );
  await queue.work(jobHandlers(ctx.vault), { concurrency: jobConcurrency });

  ops.show({
    registry: ctx.registry,
    checks: { database: () => ctx.vault.db.ping(), redis: async () => void (await ctx.queue.countWaiting()) },
  });
  ctx.logger.info('worker is ready', { url: ops.url });
  const started = starting.move();
  return { url: ops.url, opsUrl: ops.url, stop: () => started.disposeAsync() };
}
