import { openOpsPort } from '@cardea/http/server/ops-port';
import type { Running } from '@cardea/process/run';
import { jobHandlers } from '@cardea/vault/jobs';
import type { WorkerConfig } from './config.ts';
import { createContext } from './context.ts';

/** Starts a worker, which runs the jobs over BullMQ on the same database as api-service. @throws StartError */
export async function startWorker(config: WorkerConfig): Promise<Running> {
  await using starting = new AsyncDisposableStack();
  const ops = await openOpsPort(config);
  starting.defer(() => ops.close());
  const ctx = await createContext(config);
  starting.defer(() => ctx.close());

  await ctx.queue.work(jobHandlers(ctx.vault));

  ops.show({ registry: ctx.metrics.registry, checks: { database: () => ctx.vault.db.ping() } });
  ctx.logger.info('worker is ready', { url: ops.url });
  const started = starting.move();
  return { url: ops.url, opsUrl: ops.url, stop: () => started.disposeAsync() };
}
