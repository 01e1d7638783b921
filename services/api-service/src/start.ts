import { listEntries } from '@cardea/contracts/audit-api';
import { AppError } from '@cardea/contracts/errors';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { sealStatus } from '@cardea/contracts/seal-api';
import { refuseBrokenRequests } from '@cardea/http/server/client-errors';
import type { ConnectionBounds } from '@cardea/http/server/connections';
import { boundConnections } from '@cardea/http/server/connections';
import { openOpsPort } from '@cardea/http/server/ops-port';
import { listen } from '@cardea/http/server/serve';
import { withCause } from '@cardea/process/cause';
import { StartError } from '@cardea/process/config';
import { showDisk } from '@cardea/process/disk';
import type { OpsView } from '@cardea/process/ops';
import { repeat } from '@cardea/process/repeat';
import type { Running } from '@cardea/process/run';
import { untilThere } from '@cardea/process/until-there';
import type { VaultContext } from '@cardea/vault/context';
import { SECOND_MS } from '@cardea/contracts/durations';
import { jobConcurrency, jobHandlers, scheduleJobs } from '@cardea/vault/jobs';
import { ensureAdmin, hasUsers } from '@cardea/vault/users/first-admin';
import { createListener } from './app.ts';
import type { ApiConfig } from './config.ts';
import { createContext } from './context.ts';
import type { ApiContext, ApiOverrides } from './context.ts';
import { initialPasswordIn } from './initial-password.ts';
import { createTokenKeys } from './token-keys.ts';
import { createTokens } from './tokens.ts';

// At a stop, unfinished requests are cut off after this time. The supervisor waits 10 s for the process to stop.
const DRAIN_MS = 8_000;

/** A running api-service. */
export interface RunningApiService extends Running {
  /** For the test kit, which creates users in it. */
  vault: VaultContext;
  /** All endpoints, in the order of the OpenAPI document. */
  endpoints: Endpoint[];
}

/**
 * Starts api-service. In profile mini it also runs the jobs, because one process owns the SQLite file.
 * @throws StartError
 */
export async function startApiService(config: ApiConfig, overrides: ApiOverrides = {}): Promise<RunningApiService> {
  await using starting = new AsyncDisposableStack();
  const ops = await openOpsPort(config);
  starting.defer(() => ops.close());
  const ctx = await createContext(config, overrides);
  starting.defer(() => ctx.close());

  const { vault, logger, queue } = ctx;
  await untilThere({ what: 'the audit log', isAway: isUnavailable, logger }, async () => {
    await refuseLostDatabase(ctx);
    await ensureAdmin(vault, initialPasswordIn(config.initialPasswordFile));
  });
  const keys = createTokenKeys(ctx);
  await keys.openIfPossible().catch(refuseForeignKeyring);

  const stopping = new AbortController();
  const tokens = createTokens(keys, vault.now);
  const { listener, server, endpoints, flush } = createListener(ctx, tokens, keys, stopping.signal);
  starting.defer(flush);
  const api = await listen(listener, { host: config.host, port: config.port, variable: 'CARDEA_PORT' });
  starting.defer(() => api.drain(DRAIN_MS));
  // Calls that only wait would use up the whole time of the drain at each stop.
  starting.defer(() => stopping.abort());
  refuseBrokenRequests(api.server, server);
  boundConnections(api.server, server, connectionBounds(ctx));

  const keepsSchedule = overrides.keepsSchedule ?? true;
  if (config.profile === 'mini' && keepsSchedule) {
    await queue.work(jobHandlers(vault), { concurrency: jobConcurrency });
  }
  // If Redis is down, this process or another one schedules the jobs later. Requests are answered meanwhile (I7).
  if (keepsSchedule) {
    scheduleJobs(queue).catch((error: unknown) =>
      logger.error(withCause('the jobs are not scheduled yet', error), { error }),
    );
  }
  const opening = repeat(
    SECOND_MS,
    () => keys.openIfPossible(),
    (error) => logger.error('the key that signs tokens does not open', { error }),
  );
  starting.use(opening);

  const { optional, ...disk } = showDisk(ctx.metrics.registry, config.database);
  const { checks, optional: servers } = readiness(ctx);
  ops.show({ registry: ctx.metrics.registry, checks, optional: { ...servers, ...optional }, ...disk });
  logger.info('api-service is ready', { url: api.url });
  const started = starting.move();
  return { url: api.url, opsUrl: ops.url, vault, endpoints, stop: () => started.disposeAsync() };
}

// A quarter for one network, so that it cannot keep all others out.
function connectionBounds({ config: { connections }, addresses }: ApiContext): ConnectionBounds {
  return { together: connections, each: Math.ceil(connections / 4), isOfProxy: addresses.isOfProxy };
}

function isUnavailable(error: unknown): boolean {
  return error instanceof AppError && error.code === 'unavailable';
}

// A database without users is new, or the old one is lost. The audit log tells which. If it is lost, a new admin with a
// new password would hide the loss.
async function refuseLostDatabase({ vault, auditService, config }: ApiContext): Promise<void> {
  if (await hasUsers(vault.db)) return;
  const { items } = await auditService.call(listEntries, { query: { action: 'user.create', limit: 1 } });
  // Checked again, because another process may have just made the first user.
  if (items.length === 0 || (await hasUsers(vault.db))) return;
  const what = typeof config.database === 'string' ? config.database : 'it';
  throw new StartError(
    `The database of api-service is empty, but the audit log has records of users: restore ${what} from a backup, or start again with an empty data folder.`,
  );
}

function refuseForeignKeyring(error: unknown): never {
  if (!(error instanceof AppError) || error.rule !== 'integrity') throw error;
  throw new StartError(
    'The keyring of kek-service does not belong to this database: restore the kek folder from the same backup.',
    { cause: error },
  );
}

// Without Redis every request is answered (I7). If that made a replica not ready, a restart of Redis would take all of
// them out of the balance at once.
function readiness({ vault, kekService, auditService, redis }: ApiContext): Pick<OpsView, 'checks' | 'optional'> {
  return {
    checks: {
      database: () => vault.db.ping(),
      kek: async () => refuseSealed(await kekService.call(sealStatus, {})),
      audit: async () => void (await auditService.text('/v1/checkpoint')),
    },
    optional: redis ? { redis: async () => void (await redis.ping()) } : {},
  };
}

function refuseSealed({ sealed }: { sealed: boolean }): void {
  if (sealed) throw new AppError('sealed', 'kek-service is sealed');
}
