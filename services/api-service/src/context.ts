import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '@cardea/contracts/errors';
import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import { createAuditClient } from '@cardea/http/client/audit-client';
import { createKekClient } from '@cardea/http/client/kek-client';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { createBullmqQueue } from '@cardea/jobs/bullmq';
import { createInProcessQueue } from '@cardea/jobs/in-process';
import type { OnJobError, Queue } from '@cardea/jobs/queue';
import { parseRedisUrl } from '@cardea/jobs/redis-options';
import { StartError } from '@cardea/process/config';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { failStop } from '@cardea/process/run';
import type { Db } from '@cardea/storage/db';
import { openDatabase } from '@cardea/storage/open';
import type { VaultContext } from '@cardea/vault/context';
import { createVaultContext } from '@cardea/vault/create-context';
import { migrationsFolder } from '@cardea/vault/migrations';
import { Redis } from 'ioredis';
import type { ApiConfig } from './config.ts';
import { createApiMetrics } from './metrics.ts';
import type { ApiMetrics } from './metrics.ts';

/** What tests put in place of the real thing; never code of ours. */
export interface ApiOverrides {
  now?: () => Date;
  passwordCost?: PasswordCost;
  /** How long an event waits for the audit log, asked for each. */
  auditDeadlineMs?: () => number;
  /** False leaves it to the test when jobs run. */
  keepsSchedule?: boolean;
}

export interface ApiContext {
  config: ApiConfig;
  vault: VaultContext;
  logger: Logger;
  metrics: ApiMetrics;
  queue: Queue;
  kekService: Client;
  auditService: Client;
  /** Connections of their own: a client that reads its export slowly must not hold up appends. */
  exports: Client;
  redis: Redis | undefined;
  /** Deletes the file that holds the first password: it has been changed. */
  forgetInitialPassword(): Promise<void>;
  close(): Promise<void>;
}

/** Builds what the service is made of. The only place that knows the profile. */
export async function createContext(config: ApiConfig, overrides: ApiOverrides = {}): Promise<ApiContext> {
  const now = overrides.now ?? (() => new Date());
  const logger = createLogger('api', config.logLevel);
  const identity = readTlsIdentity(config.tlsDir, 'api-service');
  const db = await openStore(config);
  const kekService = createClient({ url: config.kekUrl, peer: 'kek-service', identity });
  const auditService = createClient({ url: config.auditUrl, peer: 'audit-service', identity });
  const exports = createClient({ url: config.auditUrl, peer: 'audit-service', identity, connections: 2 });
  const audit = createAuditClient(auditService, overrides.auditDeadlineMs);
  const keks = createKekClient(kekService);
  const redis = config.redisUrl === undefined ? undefined : connectRedis(config.redisUrl, logger);
  const queue = createQueue(config, logger);
  const passwords = createPasswordHasher(overrides.passwordCost ?? defaultPasswordCost, { concurrent: 2, queued: 32 });
  const vault = createVaultContext({ db, keks, audit, passwords, settings: config.vaultSettings, now });
  return {
    config,
    vault,
    logger,
    metrics: createApiMetrics(),
    queue,
    kekService,
    auditService,
    exports,
    redis,
    forgetInitialPassword: () => rm(config.initialPasswordFile, { force: true }),
    async close() {
      await queue.close();
      await vault.outbox.flush();
      await vault.lastReads.flush();
      vault.deks.clear();
      await db.close();
      redis?.disconnect();
      audit.close();
      await Promise.all([kekService.close(), auditService.close(), exports.close()]);
    },
  };
}

function openStore({ profile, database, allowFsyncOff }: ApiConfig): Promise<Db> {
  if (profile === 'mini') makeFolder(dirname(database));
  return openDatabase({
    target: database,
    migrations: migrationsFolder,
    onCommitError: (error) => failStop('The database could not commit', error),
    allowFsyncOff,
  });
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new StartError(`The folder ${folder} cannot be made: give Cardea a folder it may write (CARDEA_DATA_DIR).`, {
      cause,
    });
  }
}

function connectRedis(url: string, logger: Logger): Redis {
  // A Redis that hangs may cost a request this long, and one that is away nothing.
  const limits = { commandTimeout: 250, maxRetriesPerRequest: 1, enableOfflineQueue: false };
  const redis = new Redis({ ...parseRedisUrl(url), ...limits });
  redis.on('error', (error) => logger.warn('redis', { error }));
  return redis;
}

function createQueue({ redisUrl }: ApiConfig, logger: Logger): Queue {
  const onError: OnJobError = (error, job) => {
    const what = { job: job?.name, attempt: job?.attempt };
    // What a job depends on is away: it is tried again, and whoever is away says so itself.
    const isAway = error instanceof AppError && (error.code === 'sealed' || error.code === 'unavailable');
    if (isAway) logger.warn('job waits', { ...what, code: error.code });
    else logger.error('job failed', { ...what, error });
  };
  return redisUrl === undefined ? createInProcessQueue({ onError }) : createBullmqQueue({ redisUrl, onError });
}
