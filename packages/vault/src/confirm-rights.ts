import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable } from '@cardea/storage/db';
import { findGrantedIn } from './access-store.ts';
import { principalOf } from './authorize.ts';
import type { Allowed } from './authorize.ts';
import type { VaultContext } from './context.ts';

/** Whether a caller has signed in. Cardea itself, a user who is just signing in and the sender of a webhook have not. */
export function hasAccount({ actor }: Caller): boolean {
  if (actor.type === 'application') return actor.credential !== undefined;
  return actor.type === 'user' && actor.session !== undefined;
}

/**
 * Decides again about rights that were given some time ago, by what `db` sees: the session or the credential, the role,
 * and the grants. A transaction that changes something must hold the lock of the principal. What only shows something
 * confirms its rights when it had to wait for its turn.
 * @throws AppError `unauthenticated`, `access_denied`; what `authorize` throws
 */
export async function confirmRights(
  ctx: VaultContext,
  db: Queryable,
  caller: Caller,
  rights: Allowed[],
): Promise<void> {
  const names = [...new Set(rights.map(({ vault }) => vault.name))];
  const [now, ...granted] = await Promise.all([
    ctx.callerNow(db, caller),
    ...names.map((name) => findGrantedIn(db, name, principalOf(caller))),
  ]);
  // A right that is not in a vault comes from the role alone.
  if (rights.length === 0 && now.role !== caller.role) {
    throw new AppError('access_denied', 'your role has just changed', { rule: 'role-changed' });
  }
  for (const { vault, confirm } of rights) {
    const found = granted[names.indexOf(vault.name)];
    // Another vault may have the name by now.
    confirm(now, found?.vault.id === vault.id ? found : undefined);
  }
}
