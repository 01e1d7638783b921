import { changeVault, createVault, deleteVault, listVaults, readVault } from '@cardea/contracts/vaults';
import { route } from '@cardea/http/server/route';
import type { Route } from '@cardea/http/server/route';
import type { VaultContext } from '@cardea/vault/context';
import { deleteVault as deleteWholeVault } from '@cardea/vault/vaults/delete-vault';
import * as vaults from '@cardea/vault/vaults/vaults';
import { emptyWithDependants } from './secrets/secret-wire.ts';

export function vaultRoutes(ctx: VaultContext): Route[] {
  return [
    route(createVault, async ({ caller, body }) => {
      const made = await vaults.createVault(ctx, caller, body);
      return made.map((vault) => ({ body: toWire(vault) }));
    }),

    route(listVaults, async ({ caller, query }) => {
      const page = await vaults.listVaults(ctx, caller, query);
      return page.map(({ items, ...rest }) => ({ body: { items: items.map(toWire), ...rest } }));
    }),

    route(readVault, async ({ caller, params }) => {
      const found = await vaults.readVault(ctx, caller, params.vault);
      return found.map((vault) => ({ body: toWire(vault) }));
    }),

    route(changeVault, async ({ caller, params, body }) => {
      const changed = await vaults.changeVault(ctx, caller, params.vault, body);
      return changed.map((vault) => ({ body: toWire(vault) }));
    }),

    route(deleteVault, async ({ caller, params, query }) => {
      const ref = { ...params, recursive: query.recursive === 'true' };
      return (await deleteWholeVault(ctx, caller, ref)).map(emptyWithDependants);
    }),
  ];
}

function toWire(vault: vaults.Vault) {
  return { ...vault, createdAt: vault.createdAt.toISOString() };
}
