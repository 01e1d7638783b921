import { rm } from 'node:fs/promises';
import { MINUTE_MS } from '@cardea/contracts/durations';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import { createPasswordHasher, defaultPasswordCost } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import { createClient } from '@cardea/http/client/peer-client';
import type { Client } from '@cardea/http/client/peer-client';
import { readTlsIdentity } from '@cardea/http/mtls';
import { connectionTo } from '@cardea/jobs/redis-options';
import type { RedisServer } from '@cardea/jobs/redis-options';
import { makeDataFolder } from '@cardea/process/data-folder';
import { withCause } from '@cardea/process/cause';
import { createLogger } from '@cardea/process/logger';
import type { Logger } from '@cardea/process/logger';
import { oncePerCause } from '@cardea/process/once-per-cause';
import { addGauges } from '@cardea/process/metrics';
import { readRotationFigures, rotationFigures } from '@cardea/vault/rotation/rotation-figures';
import { openVault } from '@cardea/wiring/open-vault';
import type { OpenVault } from '@cardea/wiring/open-vault';
import { Redis } from 'ioredis';
import { createClientAddresses } from './client-address.ts';
import type { ClientAddresses } from './client-address.ts';
import type { ApiConfig } from './config.ts';
import { createApiMetrics } from './metrics.ts';
import type { ApiMetrics } from './metrics.ts';

/** Values that tests replace. */
export interface ApiOverrides {
  now?: () => Date;
  steadyMs?: SteadyClock;
  passwordCost?: PasswordCost;
  /** How long an event waits for the audit log. Called for each event. */
  auditDeadlineMs?: () => number;
  /** How long a client may take nothing of its answer. */
  unreadMsMax?: number | undefined;
  /** False if the test runs the jobs itself. */
  keepsSchedule?: boolean;
}

/** Exports of the audit log that are under way at once. Each has a connection to audit-service. */
export const EXPORTS_MAX = 4;

/** Callers who wait for an entry of the audit log at once. Each has a connection to audit-service. */
export const FOLLOWERS_MAX = 32;

/** Questions about the audit log, and proofs, that are under way at once. Each has a connection to audit-service. */
export const QUESTIONS_MAX = 2;
export const PROOFS_MAX = 8;

export interface ApiContext extends OpenVault {
  config: ApiConfig;
  logger: Logger;
  metrics: ApiMetrics;
  addresses: ClientAddresses;
  /** Have connections of their own: a question may take long, a proof waits for a signature, and no append waits for either. */
  questions: Client;
  proofs: Client;
  /** Has connections of its own: a client that reads its export slowly must not delay appends. */
  exports: Client;
  /** Has connections of its own: a call that waits for an entry keeps its connection meanwhile. */
  followers: Client;
  redis: Redis | undefined;
  unreadMsMax: number;
  /** Deletes the file with the first password, once the password has been changed. */
  forgetInitialPassword(): Promise<void>;
}

/** Builds the parts of the service. @throws StartError, and what `openVault` throws */
export async function createContext(config: ApiConfig, overrides: ApiOverrides = {}): Promise<ApiContext> {
  const { now = () => new Date(), steadyMs, passwordCost = defaultPasswordCost, auditDeadlineMs } = overrides;
  await using opening = new AsyncDisposableStack();
  const logger = createLogger('api-service', config.logLevel);
  const identity = readTlsIdentity(config.tlsDir, 'api-service');
  const audit = { url: config.auditUrl, peer: 'audit-service', identity } as const;
  const questions = createClient({ ...audit, connections: QUESTIONS_MAX });
  opening.defer(() => questions.close());
  const proofs = createClient({ ...audit, connections: PROOFS_MAX });
  opening.defer(() => proofs.close());
  const exports = createClient({ ...audit, connections: EXPORTS_MAX });
  opening.defer(() => exports.close());
  const followers = createClient({ ...audit, connections: FOLLOWERS_MAX });
  opening.defer(() => followers.close());
  const redis = config.redis === undefined ? undefined : connectRedis(config.redis, logger);
  opening.defer(() => redis?.disconnect());

  if (config.profile === 'mini') makeDataFolder(config.folder, { say: (line) => logger.warn(line) });
  const passwords = createPasswordHasher(passwordCost, { concurrent: 2, queued: 32 });
  const metrics = createApiMetrics();
  const { registry } = metrics;
  const opened = await openVault(config, { identity, logger, registry, passwords, now, steadyMs, auditDeadlineMs });
  opening.defer(() => opened.close());

  addGauges({ registry, logger }, rotationFigures, () => readRotationFigures(opened.vault));
  const made = opening.move();
  return {
    ...opened,
    config,
    logger,
    metrics,
    addresses: createClientAddresses(config.trustedProxies, logger),
    questions,
    proofs,
    exports,
    followers,
    redis,
    unreadMsMax: overrides.unreadMsMax ?? MINUTE_MS,
    forgetInitialPassword: () => rm(config.initialPasswordFile, { force: true }),
    close: () => made.disposeAsync(),
  };
}

function connectRedis(server: RedisServer, logger: Logger): Redis {
  // A Redis that hangs delays a request by at most this long. A Redis that is down delays nothing.
  const limits = { commandTimeout: 250, maxRetriesPerRequest: 1, enableOfflineQueue: false };
  const redis = new Redis({ ...connectionTo(server), ...limits });
  const { failed, worked } = oncePerCause((error) =>
    logger.warn(withCause('requests are not counted in Redis', error), { error }),
  );
  redis.on('error', failed).on('ready', worked);
  return redis;
}
