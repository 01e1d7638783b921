import type { Server } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { refuseBrokenRequests } from '@cardea/http/client-errors';
import type { Running } from '@cardea/http/run';
import { listen, opsListener } from '@cardea/http/serve';
import { DbUnavailable } from '@cardea/storage/db';
import { createAuditApp } from './app.ts';
import type { AuditConfig } from './config.ts';
import { createContext } from './context.ts';
import type { AuditContext, AuditOverrides } from './context.ts';
import { FatalLogError } from './log.ts';

const DRAIN_MS = 5_000;
const SIGN_EVERY_MS = 10_000;

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
  starting.defer(() => ctx.close());

  const { host, port, opsPort } = config;
  const ops = await listen(opsListener(ctx.metrics.registry, { database: () => ctx.db.ping() }), {
    host,
    port: opsPort,
    variable: 'CARDEA_OPS_PORT',
  });
  starting.defer(() => ops.drain(DRAIN_MS));

  const { listener, server } = createAuditApp(ctx);
  const api = await listen(listener, { host, port, variable: 'CARDEA_AUDIT_PORT', identity: ctx.identity });
  starting.defer(() => api.drain(DRAIN_MS));
  refuseBrokenRequests(api.server, server);
  reportRefusedHandshakes(ctx, api.server);

  const signing = setInterval(() => void sign(ctx), SIGN_EVERY_MS);
  starting.defer(() => clearInterval(signing));

  ctx.logger.info('audit-service is ready', { url: api.url });
  const started = starting.move();
  return { url: api.url, opsUrl: ops.url, stop: () => started.disposeAsync() };
}

async function sign({ signer, logger, stopIfFatal }: AuditContext): Promise<void> {
  try {
    await signer.tick();
  } catch (error) {
    logger.error('no checkpoint was signed', { error });
    // A database that is away may come back; a file that cannot be written is a disk that cannot be trusted.
    if (!(error instanceof DbUnavailable)) stopIfFatal(new FatalLogError('signing failed', { cause: error }));
  }
}

// Such a peer never becomes a request, so this is the only trace it leaves.
function reportRefusedHandshakes({ logger, metrics }: AuditContext, server: Server): void {
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => {
    metrics.handshakesRefused.inc();
    logger.warn('a TLS handshake was refused', { ip: socket.remoteAddress, error });
  });
}
