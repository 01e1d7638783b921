import { breakGlass } from '@cardea/contracts/secrets/break-glass';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import * as secrets from '@cardea/vault/secrets/break-glass/break-glass';
import type { ApiMetrics } from '../../metrics.ts';
import { secretToWire } from './secret-wire.ts';

export function breakGlassRoutes(ctx: VaultContext, metrics: Pick<ApiMetrics, 'breakGlass'>): Route[] {
  return [
    route(breakGlass, async ({ caller, params, body }) => {
      const shown = await secrets.breakGlass(ctx, caller, { ...params, ...body });
      metrics.breakGlass.inc();
      return shown.map((secret) => ({ body: secretToWire(secret) }));
    }),
  ];
}
