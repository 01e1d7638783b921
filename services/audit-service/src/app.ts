import type { IncomingMessage, RequestListener } from 'node:http';
import { appendEvents, exportEntries, listEntries, readCheckpoint } from '@cardea/contracts/audit-api';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { uuidv7 } from '@cardea/crypto/ids';
import { createApp } from '@cardea/http/app';
import type { Refusal, ServerContext } from '@cardea/http/exchange';
import { peerName } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import { DbUnavailable } from '@cardea/storage/db';
import { formatMicros } from './audit-time.ts';
import type { AuditContext } from './context.ts';
import { toCanonicalEvent } from './parse-append.ts';
import { auditRoutes } from './routes.ts';

// Who may call what. What is not listed here is for nobody. Whoever appends asks for the
// checkpoint too, to see whether the log answers.
const peersOf = new Map<string, readonly ServiceName[]>([
  [appendEvents.path, ['api-service', 'worker', 'kek-service']],
  [listEntries.path, ['api-service']],
  [readCheckpoint.path, ['api-service', 'worker', 'kek-service', 'operator']],
  [exportEntries.path, ['api-service', 'operator']],
]);

/** All that audit-service serves. */
export function createAuditApp(ctx: AuditContext): { listener: RequestListener; server: ServerContext } {
  const server: ServerContext = {
    logger: ctx.logger,
    metrics: ctx.metrics,
    identify: async (req, endpoint, requestId) => identify(req, endpoint, requestId),
    stranger: holderOf,
    recordRefusal: (refusal) => recordRefusal(ctx, refusal),
    translate: (error) => translate(ctx, error),
  };
  return { listener: createApp({ ctx: server, routes: auditRoutes(ctx) }), server };
}

function identify(req: IncomingMessage, { path }: Endpoint, requestId: string): Caller {
  const name = peerName(req);
  if (!peersOf.get(path)?.some((peer) => peer === name)) {
    throw new AppError('access_denied', 'this certificate is not one that may call this', { suspicious: 'wrong_peer' });
  }
  return holderOf(req, requestId);
}

/** Whoever holds the certificate of the connection. */
function holderOf(req: IncomingMessage, requestId: string): Caller {
  const ip = req.socket.remoteAddress;
  return {
    actor: { id: peerName(req) ?? 'unknown', type: 'service' },
    source: ip === undefined ? {} : { ip },
    requestId,
  };
}

/** The log records what it refuses itself. @throws AppError `unavailable` */
async function recordRefusal(ctx: AuditContext, { caller, action, error }: Refusal): Promise<void> {
  // That an id was taken twice is in the log already, with the id.
  if (error.code === 'conflict') return;
  const { actor, source, requestId } = caller;
  const now = ctx.now();
  const event = toCanonicalEvent({
    id: uuidv7(now),
    ts: formatMicros(now * 1000),
    action,
    decision: 'deny',
    reason: error.code,
    actor,
    source,
    requestId,
    ...(error.suspicious === undefined ? {} : { suspicious: error.suspicious }),
  });
  await ctx.pool.append([event], 'audit-service');
}

function translate(ctx: AuditContext, error: unknown): AppError | undefined {
  ctx.stopIfFatal(error);
  if (!(error instanceof DbUnavailable)) return undefined;
  return new AppError('unavailable', 'the database of the audit log does not answer', { cause: error });
}
