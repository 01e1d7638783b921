import type { RequestListener } from 'node:http';
import { appendEvents, exportEntries, listEntries, readCheckpoint } from '@cardea/contracts/audit-api';
import { AppError } from '@cardea/contracts/errors';
import { refusalFacts } from '@cardea/contracts/refusal';
import type { Refusal } from '@cardea/contracts/refusal';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { createApp } from '@cardea/http/server/app';
import type { ServerContext } from '@cardea/http/server/exchange';
import { certificateHolder, identifyPeer } from '@cardea/http/server/peers';
import type { PeersOfEndpoints } from '@cardea/http/server/peers';
import { DbUnavailable } from '@cardea/storage/db';
import type { AuditContext } from './context.ts';
import { LOG_ITSELF } from './log.ts';
import { toCanonicalEvent } from './parse-append.ts';
import { auditRoutes } from './routes.ts';
import { createHotPath } from '@cardea/http/server/hot-path';

// Who may call what. What is not listed here is for nobody. Whoever appends asks for the
// checkpoint too, to see whether the log answers.
const peersOf: PeersOfEndpoints = new Map([
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
    identify: async (req, endpoint, requestId) => identifyPeer(peersOf, req, endpoint, requestId),
    stranger: certificateHolder,
    recordRefusal: (refusal) => recordRefusal(ctx, refusal),
    translate: (error) => translate(ctx, error),
  };
  const routes = auditRoutes(ctx);
  const app = createApp({ ctx: server, routes });
  // Every answer of Cardea waits for one of these.
  const hotPath = createHotPath({
    ctx: server,
    routes: routes.filter(({ endpoint }) => endpoint.path === appendEvents.path),
    recall: (req) => certificateHolder(req, '').actor,
    limit: () => undefined,
  });
  return { listener: (req, res) => void (hotPath(req, res) || app(req, res)), server };
}

/** The log records what it refuses itself. @throws AppError `unavailable` */
async function recordRefusal(ctx: AuditContext, refusal: Refusal): Promise<void> {
  // That an id was taken twice is in the log already, with the id.
  if (refusal.error.code === 'conflict') return;
  const at = ctx.now();
  const event = toAuditEvent(refusal.caller, refusalFacts(refusal), { id: uuidv7(at), at });
  await ctx.pool.append([toCanonicalEvent(event)], LOG_ITSELF);
}

function translate(ctx: AuditContext, error: unknown): AppError | undefined {
  ctx.stopIfFatal(error);
  if (!(error instanceof DbUnavailable)) return undefined;
  return new AppError('unavailable', 'the database of the audit log does not answer', { cause: error });
}
