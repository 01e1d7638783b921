import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { authorize, authorizeSystem } from './authorize.ts';
import type { Allowed } from './authorize.ts';
import { confirmRights } from './confirm-rights.ts';
import type { VaultContext } from './context.ts';
import { findVaultNames } from './vault-names.ts';

/** The right to read the audit log: all of it, or the entries of one vault. */
export interface LogRight {
  rule: AuditRule;
  /** The only vault whose entries the caller may see, or undefined for all. */
  vault?: { id: string; name: string };
  rights: Allowed[];
}

/**
 * Decides whether a caller may read the audit log. An owner may read about a vault, which is found by its name or its
 * id. An earlier vault with the same name had other owners, so its entries are not among them.
 * @throws AppError `access_denied`; for somebody without oversight who names a vault, what `authorize` throws
 */
export async function authorizeLog(
  ctx: VaultContext,
  caller: Caller,
  vaultNamed: string | undefined,
): Promise<LogRight> {
  const { role } = caller;
  if (vaultNamed === undefined || role === 'admin' || role === 'ceo') {
    return { ...authorizeSystem(caller, 'audit.read'), rights: [] };
  }
  const names = await findVaultNames(ctx.db, ctx.db.engine, [vaultNamed]);
  const allowed = await authorize(ctx, caller, 'vault.audit', { vault: names.get(vaultNamed) ?? vaultNamed });
  const { rule, vault } = allowed;
  return { rule, vault: { id: vault.id, name: vault.name }, rights: [allowed] };
}

/** Decides again, after a wait (I8). @throws as `authorizeLog` */
export function confirmLog(ctx: VaultContext, caller: Caller, { rights }: LogRight): Promise<void> {
  return confirmRights(ctx, ctx.db, caller, rights);
}
