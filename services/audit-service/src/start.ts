import { refuseBrokenRequests } from '@cardea/http/server/client-errors';
import { reportRefusedHandshakes } from '@cardea/http/server/peers';
import { listen } from '@cardea/http/server/serve';
import type { Listening } from '@cardea/http/server/serve';
import { opsListener } from '@cardea/process/ops';
import type { Running } from '@cardea/process/run';
import { DbUnavailable } from '@cardea/storage/db';
import { createAuditApp } from './app.ts';
import type { AuditConfig } from './config.ts';
import { createContext } from './context.ts';
import type { AuditContext, AuditOverrides } from './context.ts';
import { FatalLogError } from './log.ts';

const DRAIN_MS = 5_000;
const SIGN_EVERY_MS = 10_000;
const READ_AHEAD_EVERY_MS = 1_000;

/** An audit-service that answers. */
export interface RunningAuditService extends Running {
  /** Where health and metrics are. */
  opsUrl: string;
}

/** Starts audit-service in this process. @throws StartError */
export async function startAuditService(
  config: AuditConfig,
  overrides: AuditOverrides = {},
): Promise<RunningAuditService> {
  await using starting = new AsyncDisposableStack();
  const ctx = await createContext(config, overrides);
  // Let go of last: a supervisor that starts another one waits for this port, and by then this one must write no more.
  let ops: Listening | undefined;
  starting.defer(async () => ops?.drain(DRAIN_MS));
  starting.defer(() => ctx.close());

  const { host, port, opsHost, opsPort } = config;
  ops = await listen(opsListener(ctx.metrics.registry, { database: () => ctx.db.ping() }), {
    host: opsHost,
    port: opsPort,
    variable: 'CARDEA_OPS_PORT',
  });

  const { listener, server } = createAuditApp(ctx);
  const api = await listen(listener, { host, port, variable: 'CARDEA_AUDIT_PORT', identity: ctx.identity });
  starting.defer(() => api.drain(DRAIN_MS));
  refuseBrokenRequests(api.server, server);
  reportRefusedHandshakes(api.server, { logger: ctx.logger, refused: ctx.metrics.handshakesRefused });

  const reading = setInterval(
    () => void orStop(ctx, 'what is new was not read again', () => ctx.signer.readAhead()),
    READ_AHEAD_EVERY_MS,
  );
  const signing = setInterval(
    () => void orStop(ctx, 'no checkpoint was signed', () => ctx.signer.tick()),
    SIGN_EVERY_MS,
  );
  starting.defer(() => {
    clearInterval(reading);
    clearInterval(signing);
  });

  ctx.logger.info('audit-service is ready', { url: api.url });
  const started = starting.move();
  const opsUrl = ops.url;
  return { url: api.url, opsUrl, stop: () => started.disposeAsync() };
}

async function orStop(
  { logger, stopIfFatal }: AuditContext,
  failure: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    logger.error(failure, { error });
    // A database that is away may come back; a file that cannot be written is a disk that cannot be trusted.
    if (!(error instanceof DbUnavailable)) stopIfFatal(new FatalLogError(failure, { cause: error }));
  }
}
