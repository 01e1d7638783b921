import type { IncomingMessage, RequestListener } from 'node:http';
import type { Caller } from '@cardea/contracts/caller';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';
import { rewrapDeks, seal, sealStatus, unseal, unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import { createApp } from '@cardea/http/app';
import { peerName } from '@cardea/http/mtls';
import type { ServiceName } from '@cardea/http/mtls';
import { recordRefusal } from './audit.ts';
import type { KekContext } from './context.ts';
import { dekRoutes } from './dek-routes.ts';
import { sealRoutes } from './seal-routes.ts';

// Who may call what. What is not listed here is for nobody.
const peersOf = new Map<string, readonly ServiceName[]>([
  [wrapDeks.path, ['api-service', 'worker']],
  [unwrapDeks.path, ['api-service', 'worker']],
  [rewrapDeks.path, ['api-service', 'worker']],
  [unseal.path, ['operator']],
  [seal.path, ['operator']],
  [sealStatus.path, ['operator', 'api-service', 'worker']],
]);

/** All that kek-service serves. */
export function createKekApp(ctx: KekContext): RequestListener {
  return createApp({
    ctx: {
      logger: ctx.logger,
      metrics: ctx.metrics,
      identify: async (req, endpoint, requestId) => identify(req, endpoint, requestId),
      stranger: holderOf,
      recordRefusal: (refusal) => recordRefusal(ctx, refusal),
      translate: () => undefined,
    },
    routes: [...dekRoutes(ctx), ...sealRoutes(ctx)],
  });
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
