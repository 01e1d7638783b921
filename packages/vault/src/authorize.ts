import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultContext } from './context.ts';
import { findVaultWithGrant } from './vaults/vault-store.ts';
import type { GrantRow, VaultRow } from './vaults/vault-store.ts';

/** What one may ask to do in a vault. */
export type VaultAction = 'vault.read' | 'secret.read' | 'secret.write' | 'secret.list';

/** What one may ask to do outside of any vault. */
export type SystemAction = 'vault.create' | 'audit.read' | 'audit.export';

/** The outcome of a decision, with the rule that made it. */
export interface Decision {
  allowed: boolean;
  /** Whether the caller may know that the vault is there. */
  visible: boolean;
  rule: string;
}

const metadataActions: ReadonlySet<VaultAction> = new Set(['vault.read', 'secret.list']);

/**
 * Finds the vault and decides. A vault the caller may not see answers as if it were not there.
 * @throws AppError `not_found`, `access_denied`
 */
export async function authorize(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  vaultName: string,
): Promise<{ vault: VaultRow; rule: string }> {
  const found = await findVaultWithGrant(ctx.db, vaultName, principalOf(caller));
  if (!found) throw new AppError('not_found', 'no such vault', { rule: 'no-such-vault' });

  const { allowed, visible, rule } = decide(caller, action, found.grant);
  if (!visible) throw new AppError('not_found', 'no such vault', { rule });
  if (!allowed) throw new AppError('access_denied', `you may not do ${action} here`, { rule });
  return { vault: found.vault, rule };
}

/** @throws AppError `access_denied` */
export function authorizeSystem(caller: Caller, action: SystemAction): { rule: string } {
  const { allowed, rule } = decideSystem(caller, action);
  if (!allowed) throw new AppError('access_denied', `you may not do ${action}`, { rule });
  return { rule };
}

/** The decision about an action in a vault: default deny. */
export function decide(caller: Caller, action: VaultAction, grant: GrantRow | undefined): Decision {
  if (caller.role === 'admin') return { allowed: true, visible: true, rule: 'role:admin' };
  if (grant?.owner === 1) return { allowed: true, visible: true, rule: 'grant:owner' };
  if (caller.role === 'ceo') return { allowed: metadataActions.has(action), visible: true, rule: 'role:ceo' };
  return { allowed: false, visible: false, rule: 'default-deny' };
}

function decideSystem(caller: Caller, action: SystemAction): { allowed: boolean; rule: string } {
  if (caller.role === 'admin') return { allowed: true, rule: 'role:admin' };
  if (caller.role === 'ceo') return { allowed: action !== 'vault.create', rule: 'role:ceo' };
  if (caller.role === 'developer') return { allowed: action === 'vault.create', rule: 'role:developer' };
  return { allowed: false, rule: 'default-deny' };
}

/** How a grant names a caller: `user:<id>` or `application:<id>`, by id, because names can be given away. */
export function principalOf(caller: Caller): string {
  return `${caller.actor.type}:${caller.actor.id}`;
}
