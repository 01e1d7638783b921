import { SECOND_MS } from '@cardea/contracts/durations';
import { refuseBrokenRequests } from '@cardea/http/server/client-errors';
import { openOpsPort } from '@cardea/http/server/ops-port';
import { reportRefusedHandshakes } from '@cardea/http/server/peers';
import { listen } from '@cardea/http/server/serve';
import { showDisk } from '@cardea/process/disk';
import { isDiskFull } from '@cardea/process/cause';
import { repeat } from '@cardea/process/repeat';
import type { Running } from '@cardea/process/run';
import { CommitError, DbUnavailable } from '@cardea/storage/db';
import { createAuditApp } from './app.ts';
import type { AuditConfig } from './config.ts';
import { createContext } from './context.ts';
import type { AuditContext, AuditOverrides } from './context.ts';
import { FatalLogError } from './append/log.ts';

// A service waits this long for the answer to an append.
const DRAIN_MS = 5_000;

/** Starts audit-service in this process. @throws StartError */
export async function startAuditService(config: AuditConfig, overrides: AuditOverrides = {}): Promise<Running> {
  await using starting = new AsyncDisposableStack();
  const ops = await openOpsPort(config);
  starting.defer(() => ops.close());
  const ctx = await createContext(config, overrides);
  starting.defer(() => ctx.close());

  const { identity, logger, metrics, db, log, signer, index, sinks } = ctx;
  const stopping = new AbortController();
  const { listener, server } = createAuditApp(ctx, stopping.signal);
  const address = { host: config.host, port: config.port, variable: 'CARDEA_AUDIT_PORT' };
  const api = await listen(listener, { ...address, identity });
  starting.defer(() => api.drain(DRAIN_MS));
  starting.defer(() => stopping.abort());
  refuseBrokenRequests(api.server, server);
  reportRefusedHandshakes(api.server, { logger, refused: metrics.handshakesRefused });

  starting.use(repeat(SECOND_MS, () => index.follow(), unlessFatal(ctx, 'the index of the log is behind')));
  starting.use(repeat(SECOND_MS, () => signer.readAhead(), stopUnlessAway(ctx, 'the new entries were not read again')));
  starting.use(repeat(10 * SECOND_MS, () => signer.tick(), stopUnlessAway(ctx, 'no checkpoint was signed')));

  const checks = {
    database: () => db.ping(),
    room: async () => log.refuseIfFull(),
    ...(sinks.areRequired && { sinks: async () => sinks.refuseIfBehind() }),
  };
  ops.show({ registry: metrics.registry, checks, ...showDisk(metrics.registry, config.database) });
  logger.info('audit-service is ready', { url: api.url });
  const started = starting.move();
  return { url: api.url, opsUrl: ops.url, stop: () => started.disposeAsync() };
}

// The index is derived from the log: only what makes the log doubtful too ends the process.
function unlessFatal({ logger, stopIfFatal }: AuditContext, failure: string): (error: unknown) => void {
  return (error) => {
    logger.error(failure, { error });
    stopIfFatal(error);
  };
}

function stopUnlessAway({ logger, stopIfFatal }: AuditContext, failure: string): (error: unknown) => void {
  return (error) => {
    logger.error(failure, { error });
    // A database that does not answer may recover. A file for which there is no room is as it was. If a file cannot be
    // written for another reason, the disk cannot be trusted.
    const isKept = isDiskFull(error) && !(error instanceof CommitError || error instanceof FatalLogError);
    if (!isKept && !(error instanceof DbUnavailable)) stopIfFatal(new FatalLogError(failure, { cause: error }));
  };
}
