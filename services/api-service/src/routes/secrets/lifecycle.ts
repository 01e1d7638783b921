import { deleteSecret, purgeSecret, restoreSecret } from '@cardea/contracts/secrets/lifecycle';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import * as trash from '@cardea/vault/secrets/lifecycle/trash';
import { emptyWithDependants, summaryToWire, tagHeader } from './secret-wire.ts';

/** Delete, restore and purge. */
export function lifecycleRoutes(ctx: VaultContext): Route[] {
  return [
    route(deleteSecret, async ({ caller, params, conditions }) => {
      const deleted = await trash.deleteSecret(ctx, caller, params, conditions);
      return deleted.map(emptyWithDependants);
    }),

    route(restoreSecret, async ({ caller, params, conditions }) => {
      const restored = await trash.restoreSecret(ctx, caller, params, conditions);
      return restored.map(({ nextWrite, ...summary }) => ({
        headers: tagHeader(summary),
        body: { ...summaryToWire(summary), nextWrite },
      }));
    }),

    route(purgeSecret, async ({ caller, params, conditions }) => {
      const purged = await trash.purgeSecret(ctx, caller, params, conditions);
      return purged.map(emptyWithDependants);
    }),
  ];
}
