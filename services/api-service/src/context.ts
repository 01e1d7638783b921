import { rm } from 'node:fs/promises';
import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { connectionTo } from '@cardea/jobs/redis-options';
import type { RedisServer } from '@cardea/jobs/redis-options';
import { makeDataFolder } from '@cardea/process/data-folder';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { addGauges } from '@cardea/process/metrics';
import { readRotationFigures, rotationFigures } from '@cardea/vault/rotation/rotation-figures';
import { openVault } from '@cardea/wiring/open-vault';
import type { OpenVault } from '@cardea/wiring/open-vault';
import { Redis } from 'ioredis';
import type { ApiConfig } from './config.ts';
import { createApiMetrics } from './metrics.ts';
import type { ApiMetrics } from './metrics.ts';

/** Values that tests replace. */
export interface ApiOverrides {
  now?: () => Date;
  passwordCost?: PasswordCost;
  /** How long an event waits for the audit log. Called for each event. */
  auditDeadlineMs?: () => number;
  /** False if the test runs the jobs itself. */
  keepsSchedule?: boolean;
}

export interface ApiContext extends OpenVault {
  config: ApiConfig;
  logger: Logger;
  metrics: ApiMetrics;
  /** Has connections of its own: a client that reads its export slowly must not delay appends. */
  exports: Client;
  redis: Redis | undefined;
  /** Deletes the file with the first password, once the password has been changed. */
  forgetInitialPassword(): Promise<void>;
}

/** Builds the parts of the service. @throws StartError, and what `openVault` throws */
export async function createContext(config: ApiConfig, overrides: ApiOverrides = {}): Promise<ApiContext> {
  const { now = () => new Date(), passwordCost = defaultPasswordCost, auditDeadlineMs } = overrides;
  await using opening = new AsyncDisposableStack();
  const logger = createLogger('api', config.logLevel);
  const identity = readTlsIdentity(config.tlsDir, 'api-service');
  const exports = createClient({ url: config.auditUrl, peer: 'audit-service', identity, connections: 2 });
  opening.defer(() => exports.close());
  const redis = config.redis === undefined ? undefined : connectRedis(config.redis, logger);
  opening.defer(() => redis?.disconnect());

  if (config.profile === 'mini') makeDataFolder(config.folder);
  const passwords = createPasswordHasher(passwordCost, { concurrent: 2, queued: 32 });
  const metrics = createApiMetrics();
  const { registry } = metrics;
  const opened = await openVault(config, { identity, logger, registry, passwords, now, auditDeadlineMs });
  opening.defer(() => opened.close());

  addGauges(registry, rotationFigures, () => readRotationFigures(opened.vault));
  const made = opening.move();
  return {
    ...opened,
    config,
    logger,
    metrics,
    exports,
    redis,
    forgetInitialPassword: () => rm(config.initialPasswordFile, { force: true }),
    close: () => made.disposeAsync(),
  };
}

function connectRedis(server: RedisServer, logger: Logger): Redis {
  // A Redis that hangs delays a request by at most this long. A Redis that is down delays nothing.
  const limits = { commandTimeout: 250, maxRetriesPerRequest: 1, enableOfflineQueue: false };
  const redis = new Redis({ ...connectionTo(server), ...limits });
  redis.on('error', (error) => logger.warn('redis', { error }));
  return redis;
}
