import type { Caller } from '@cardea/contracts/caller';
import type { Queryable } from '@cardea/storage/db';
import { findGrantedIn } from './access-store.ts';
import { principalOf } from './authorize.ts';
import type { VaultContext } from './context.ts';
import { isStale } from './right.ts';
import type { Ground, Right } from './right.ts';

/** Whether a caller has signed in. Cardea itself, a user who is just signing in and the sender of a webhook have not. */
export function hasAccount({ actor }: Caller): boolean {
  if (actor.type === 'application') return actor.credential !== undefined;
  return actor.type === 'user' && actor.session !== undefined;
}

/**
 * Decides again about what an answer relies on, if that was decided too long ago. Everything that releases an answer does
 * so when nothing is left but to release it: `audited`, and what shows something without a record of its own.
 * @throws as `confirmRights`
 */
export async function confirmGround(ctx: VaultContext, caller: Caller, ground: Ground): Promise<void> {
  if (ground === 'done' || !hasAccount(caller)) return;
  const rights = ground === 'signed-in' ? [] : ground;
  if (isStale(ctx, caller, rights)) await confirmRights(ctx, ctx.db, caller, rights);
}

/**
 * Decides again about rights that were given some time ago, by what `db` sees: the session or the credential, the role,
 * and the grants. A transaction that changes something must hold the lock of the principal.
 * @throws AppError `unauthenticated`, `access_denied`; what `authorize` throws
 */
export async function confirmRights(
  ctx: VaultContext,
  db: Queryable,
  caller: Caller,
  rights: readonly Right[],
): Promise<void> {
  // A statement may wait for a connection, and what the others have found is older then.
  const decidedAt = ctx.steadyMs();
  const names = [...new Set(rights.flatMap(({ vault }) => vault?.name ?? []))];
  const [now, ...granted] = await Promise.all([
    ctx.callerNow(db, caller),
    ...names.map((name) => findGrantedIn(db, name, principalOf(caller))),
  ]);
  for (const right of new Set(rights)) {
    const found = right.vault && granted[names.indexOf(right.vault.name)];
    // Another vault may have the name by now.
    right.confirm(now, found?.vault.id === right.vault?.id ? found : undefined);
    right.decidedAt = decidedAt;
  }
  caller.identifiedAt = decidedAt;
}
