import type { RequestListener } from 'node:http';
import {
  appendEvents,
  exportEntries,
  listEntries,
  proveConsistency,
  proveInclusion,
  proveReceipt,
  readCheckpoint,
} from '@cardea/contracts/audit-api';
import { AppError } from '@cardea/contracts/errors';
import { refusalFacts } from '@cardea/contracts/refusal';
import type { Refusal } from '@cardea/contracts/refusal';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { createApp } from '@cardea/http/server/app';
import type { ServerContext } from '@cardea/http/server/exchange';
import { createHotPath } from '@cardea/http/server/hot-path';
import { certificateHolder, identifyPeer } from '@cardea/http/server/peers';
import type { PeersOfEndpoints } from '@cardea/http/server/peers';
import { isDiskFull } from '@cardea/process/cause';
import { DbUnavailable } from '@cardea/storage/db';
import type { AuditContext } from './context.ts';
import { LOG_ITSELF, diskFull } from './append/log.ts';
import { toCanonicalEvent } from './append/parse-append.ts';
import { auditRoutes } from './routes.ts';

// Which peers may call which endpoint. An endpoint that is not listed here refuses everybody. A service that appends
// may also read the checkpoint, to see whether the log answers.
const peersOf: PeersOfEndpoints = new Map([
  [appendEvents.path, ['api-service', 'worker', 'kek-service']],
  [listEntries.path, ['api-service']],
  [proveInclusion.path, ['api-service']],
  [proveConsistency.path, ['api-service']],
  [proveReceipt.path, ['api-service']],
  [readCheckpoint.path, ['api-service', 'worker', 'kek-service', 'operator']],
  [exportEntries.path, ['api-service', 'operator']],
]);

/** The endpoints of audit-service. `stopping` ends what waits for new entries. */
export function createAuditApp(
  ctx: AuditContext,
  stopping: AbortSignal,
): { listener: RequestListener; server: ServerContext } {
  const server: ServerContext = {
    logger: ctx.logger,
    metrics: ctx.metrics,
    identify: async (req, endpoint, requestId) => identifyPeer(peersOf, req, endpoint, requestId),
    stranger: certificateHolder,
    recordRefusal: (refusal) => recordRefusal(ctx, refusal),
    translate: (error) => translate(ctx, error),
  };
  const routes = auditRoutes(ctx, stopping);
  const app = createApp({ ctx: server, routes });
  // Every answer of Cardea waits for such a call.
  const hotPath = createHotPath({
    ctx: server,
    routes: routes.filter(({ endpoint }) => endpoint.path === appendEvents.path),
    recall: (req) => certificateHolder(req, '').actor,
    limit: () => undefined,
  });
  return { listener: (req, res) => void (hotPath(req, res) || app(req, res)), server };
}

/** Records a refusal of audit-service in its own log. @throws AppError `unavailable` */
async function recordRefusal(ctx: AuditContext, refusal: Refusal): Promise<void> {
  // The log already has a record of this conflict, with the id.
  if (refusal.error.code === 'conflict') return;
  const at = ctx.now();
  const event = toAuditEvent(refusal.caller, refusalFacts(refusal), { id: uuidv7(at), at });
  await ctx.pool.append([toCanonicalEvent(event)], LOG_ITSELF);
}

function translate(ctx: AuditContext, error: unknown): AppError | undefined {
  ctx.stopIfFatal(error);
  if (isDiskFull(error)) return diskFull(error);
  if (!(error instanceof DbUnavailable)) return undefined;
  return new AppError('unavailable', 'the database of the audit log does not answer', { cause: error });
}
