import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import { findGrantedIn } from './access-store.ts';
import { principalOf } from './authorize.ts';
import type { Allowed } from './authorize.ts';
import type { VaultContext } from './context.ts';

/** Whether a caller has signed in. Cardea itself, whoever signs in just now and the sender of a webhook have not. */
export function hasAccount({ actor }: Caller): boolean {
  if (actor.type === 'application') return actor.credential !== undefined;
  return actor.type === 'user' && actor.session !== undefined;
}

/**
 * Decides again about rights that were given before the transaction began, by what the transaction sees: the session or
 * the credential, the role, and the grants. The transaction must hold the lock of the principal.
 * @throws AppError `unauthenticated`, `access_denied`; what `authorize` throws
 */
export async function confirmRights(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  rights: Allowed[],
): Promise<void> {
  const [now, ...granted] = await Promise.all([
    ctx.callerNow(tx, caller),
    ...rights.map(({ vault }) => findGrantedIn(tx, vault.name, principalOf(caller))),
  ]);
  // A right that is not in a vault comes from the role alone.
  if (rights.length === 0 && now.role !== caller.role) {
    throw new AppError('access_denied', 'your role has just changed', { rule: 'role-changed' });
  }
  for (const [index, { vault, confirm }] of rights.entries()) {
    const found = granted[index];
    // Another vault may have the name by now.
    confirm(now, found?.vault.id === vault.id ? found : undefined);
  }
}
