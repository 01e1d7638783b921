import type { Caller } from '@cardea/contracts/caller';
import { authorize, authorizeSystem } from './authorize.ts';
import type { VaultContext } from './context.ts';
import type { Right } from './right.ts';
import { findVaultNames } from './vault-names.ts';

/**
 * Decides whether a caller may read the audit log: all of it, or the entries of the vault that the right is in. An owner
 * may read about a vault, which is found by its name or its id. An earlier vault with the same name had other
 * owners, so its entries are not among them.
 * @throws AppError `access_denied`; for somebody without oversight who names a vault, what `authorize` throws
 */
export async function authorizeLog(ctx: VaultContext, caller: Caller, vaultNamed: string | undefined): Promise<Right> {
  const { role } = caller;
  if (vaultNamed === undefined || role === 'admin' || role === 'ceo') {
    return authorizeSystem(ctx, caller, 'audit.read');
  }
  const names = await findVaultNames(ctx.db, ctx.db.engine, [vaultNamed]);
  return authorize(ctx, caller, 'vault.audit', { vault: names.get(vaultNamed) ?? vaultNamed });
}
