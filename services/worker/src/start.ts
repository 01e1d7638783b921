import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import { createAuditClient } from '@cardea/http/client/audit-client';
import { createClient } from '@cardea/http/client/peer-client';
import { createKekClient } from '@cardea/http/client/kek-client';
import { createLogger } from '@cardea/process/logger';
import { createMetrics } from '@cardea/process/metrics';
import { readTlsIdentity } from '@cardea/http/mtls';
import { failStop } from '@cardea/process/run';
import type { Running } from '@cardea/process/run';
import { listen } from '@cardea/http/server/serve';
import { createBullmqQueue } from '@cardea/jobs/bullmq';
import { openDatabase } from '@cardea/storage/open';
import { jobHandlers } from '@cardea/vault/jobs';
import { migrationsFolder } from '@cardea/vault/migrations';
import { toVaultSettings } from '@cardea/vault/settings';
import type { WorkerConfig } from './config.ts';
import { opsListener } from '@cardea/process/ops';
import { createVaultContext } from '@cardea/vault/create-context';

/** Starts a worker: the product's jobs over BullMQ, against the same database as api-service. */
export async function startWorker(config: WorkerConfig): Promise<Running> {
  const logger = createLogger('worker', config.CARDEA_LOG_LEVEL);
  const metrics = createMetrics('worker');
  const identity = readTlsIdentity(config.CARDEA_TLS_DIR, 'worker');
  const kekService = createClient({ url: config.CARDEA_KEK_URL, peer: 'kek-service', identity });
  const auditService = createClient({ url: config.CARDEA_AUDIT_URL, peer: 'audit-service', identity });
  const db = await openDatabase({
    target: config.CARDEA_DATABASE_URL,
    migrations: migrationsFolder,
    onCommitError: (error) => failStop('The database could not commit', error),
    allowFsyncOff: config.CARDEA_TEST_ALLOW_FSYNC_OFF,
  });
  const audit = createAuditClient(auditService);
  const ctx = createVaultContext({
    db,
    keks: createKekClient(kekService),
    audit,
    passwords: createPasswordHasher(defaultPasswordCost, { concurrent: 1, queued: 0 }),
    settings: toVaultSettings(config),
    now: () => new Date(),
  });
  const queue = createBullmqQueue({
    redisUrl: config.CARDEA_REDIS_URL,
    onError: (error, job) => logger.error('job failed', { error, job: job?.name, attempt: job?.attempt }),
  });
  await queue.work(jobHandlers(ctx));

  const everySecond = setInterval(() => {
    ctx.deks.sweep();
    ctx.outbox.flush().catch((error: unknown) => logger.warn('outbox rows stay for the relay', { error }));
  }, 1_000);
  const ops = await listen(opsListener(metrics.registry, { database: () => db.ping() }), {
    host: config.CARDEA_OPS_HOST,
    port: config.CARDEA_OPS_PORT,
    variable: 'CARDEA_OPS_PORT',
  });
  logger.info('worker is ready', { url: ops.url });
  return {
    url: ops.url,
    async stop() {
      clearInterval(everySecond);
      await queue.close();
      await ctx.outbox.flush();
      await ops.drain(0);
      ctx.deks.clear();
      await db.close();
      audit.close();
      await Promise.all([kekService.close(), auditService.close()]);
    },
  };
}
