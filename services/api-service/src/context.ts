import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { parseRedisUrl } from '@cardea/jobs/redis-options';
import { makeDataFolder } from '@cardea/process/data-folder';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { openVault } from '@cardea/wiring/open-vault';
import type { OpenVault } from '@cardea/wiring/open-vault';
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

export interface ApiContext extends OpenVault {
  config: ApiConfig;
  logger: Logger;
  metrics: ApiMetrics;
  /** Connections of their own: a client that reads its export slowly must not hold up appends. */
  exports: Client;
  redis: Redis | undefined;
  /** Deletes the file that holds the first password: it has been changed. */
  forgetInitialPassword(): Promise<void>;
}

/** Builds what the service is made of. @throws StartError, and what `openVault` throws */
export async function createContext(config: ApiConfig, overrides: ApiOverrides = {}): Promise<ApiContext> {
  const { now = () => new Date(), passwordCost = defaultPasswordCost, auditDeadlineMs } = overrides;
  await using opening = new AsyncDisposableStack();
  const logger = createLogger('api', config.logLevel);
  const identity = readTlsIdentity(config.tlsDir, 'api-service');
  const exports = createClient({ url: config.auditUrl, peer: 'audit-service', identity, connections: 2 });
  opening.defer(() => exports.close());
  const redis = config.redisUrl === undefined ? undefined : connectRedis(config.redisUrl, logger);
  opening.defer(() => redis?.disconnect());

  if (config.profile === 'mini') makeDataFolder(dirname(config.database));
  const passwords = createPasswordHasher(passwordCost, { concurrent: 2, queued: 32 });
  const opened = await openVault(config, { identity, logger, passwords, now, auditDeadlineMs });
  opening.defer(() => opened.close());

  const made = opening.move();
  return {
    ...opened,
    config,
    logger,
    metrics: createApiMetrics(),
    exports,
    redis,
    forgetInitialPassword: () => rm(config.initialPasswordFile, { force: true }),
    close: () => made.disposeAsync(),
  };
}

function connectRedis(url: string, logger: Logger): Redis {
  // A Redis that hangs may cost a request this long, and one that is away nothing.
  const limits = { commandTimeout: 250, maxRetriesPerRequest: 1, enableOfflineQueue: false };
  const redis = new Redis({ ...parseRedisUrl(url), ...limits });
  redis.on('error', (error) => logger.warn('redis', { error }));
  return redis;
}
