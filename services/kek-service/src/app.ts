import type { RequestListener } from 'node:http';
import { destroyKek, listKeks, rewrapDeks, rotateKek, unwrapDeks, wrapDeks } from '@cardea/contracts/kek-api';
import {
  addSeal,
  followSeal,
  listSeals,
  removeSeal,
  seal,
  sealStatus,
  unfreezeUnwraps,
  unseal,
} from '@cardea/contracts/seal-api';
import { createApp } from '@cardea/http/server/app';
import { certificateHolder, identifyPeer } from '@cardea/http/server/peers';
import type { PeersOfEndpoints } from '@cardea/http/server/peers';
import { recordRefusal } from './audit.ts';
import type { KekContext } from './context.ts';
import { dekRoutes } from './dek-routes.ts';
import { kekRoutes } from './kek-routes.ts';
import { sealRoutes } from './seal-routes.ts';

// Which peers may call which endpoint. An endpoint that is not listed here refuses everybody.
const peersOf: PeersOfEndpoints = new Map([
  [wrapDeks.path, ['api-service', 'worker']],
  [unwrapDeks.path, ['api-service', 'worker']],
  [rewrapDeks.path, ['api-service', 'worker']],
  [rotateKek.path, ['api-service', 'worker']],
  [listKeks.path, ['api-service', 'worker']],
  [destroyKek.path, ['api-service', 'worker']],
  [unfreezeUnwraps.path, ['api-service', 'operator']],
  [unseal.path, ['operator']],
  [seal.path, ['operator']],
  [listSeals.path, ['api-service']],
  [addSeal.path, ['api-service']],
  [removeSeal.path, ['api-service']],
  [followSeal.path, ['api-service', 'worker']],
  [sealStatus.path, ['operator', 'api-service', 'worker']],
]);

/** The endpoints of kek-service. */
export function createKekApp(ctx: KekContext): RequestListener {
  return createApp({
    ctx: {
      logger: ctx.logger,
      metrics: ctx.metrics,
      identify: async (req, endpoint, requestId) => identifyPeer(peersOf, req, endpoint, requestId),
      stranger: certificateHolder,
      recordRefusal: (refusal) => recordRefusal(ctx, refusal),
      translate: () => undefined,
    },
    routes: [...dekRoutes(ctx), ...kekRoutes(ctx), ...sealRoutes(ctx)],
  });
}
