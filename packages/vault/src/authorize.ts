import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import type { VaultContext } from './context.ts';
import { decide } from './decide.ts';
import { findGrantedIn } from './grants/grant-store.ts';
import type { VaultRow } from './vaults/vault-store.ts';

/** What one may ask to do outside of any vault. */
export type SystemAction = 'vault.create' | 'audit.read' | 'audit.export' | 'user.manage' | 'application.manage';

/** A yes, with what it is limited to and the rule that gave it. */
export interface Allowed {
  vault: VaultRow;
  rule: string;
  /** Names outside of it are not the caller's to see. */
  pathPrefix: string | undefined;
}

/**
 * Finds the vault and decides. What the caller may not see answers as if it were not there.
 * @throws AppError `not_found`, `access_denied`
 */
export async function authorize(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  on: { vault: string; name?: string | undefined },
): Promise<Allowed> {
  const found = await findGrantedIn(ctx.db, on.vault, principalOf(caller));
  return requireAllowed(ctx, caller, action, { found, name: on.name });
}

/**
 * Like `authorize`, for several names of one vault: all of them or none.
 * @throws what `authorize` throws of the first that is refused, as `explain` has it
 */
export async function authorizeEach(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  on: { vault: string; names: string[] },
  explain: (error: unknown, index: number) => unknown,
): Promise<Allowed> {
  const found = await findGrantedIn(ctx.db, on.vault, principalOf(caller));
  const [allowed] = on.names.map((name, index) => {
    try {
      return requireAllowed(ctx, caller, action, { found, name });
    } catch (error) {
      throw explain(error, index);
    }
  });
  if (!allowed) throw new TypeError('nothing is asked for');
  return allowed;
}

function requireAllowed(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  { found, name }: { found: Awaited<ReturnType<typeof findGrantedIn>>; name: string | undefined },
): Allowed {
  if (!found) throw vaultNotThere('no-such-vault');

  const { vault, granted } = found;
  // An address nobody knows is inside of no network.
  const { ip = 'unknown' } = caller.source;
  const now = ctx.now().getTime();
  const { allowed, visible, rule } = decide({ role: caller.role, granted, action, name, ip, now });
  if (!visible) throw vaultNotThere(rule);
  if (!allowed) throw new AppError('access_denied', `you may not do ${action} here`, { rule });
  const isUnlimited = rule.startsWith('role:') || granted?.owner;
  return { vault, rule, pathPrefix: isUnlimited ? undefined : granted?.pathPrefix };
}

/** One sentence for what is not there and for what is not theirs to see: a second one would tell them apart. */
export function vaultNotThere(rule: string): AppError {
  return new AppError('not_found', 'no such vault, or nothing in it for you', { rule });
}

const systemRights: Record<SystemAction, readonly string[]> = {
  'vault.create': ['admin', 'developer'],
  'audit.read': ['admin', 'ceo'],
  'audit.export': ['admin', 'ceo'],
  'user.manage': ['admin'],
  'application.manage': ['admin'],
};

/** @throws AppError `access_denied` */
export function authorizeSystem(caller: Caller, action: SystemAction): { rule: string } {
  const { role } = caller;
  if (role !== undefined && systemRights[action].includes(role)) return { rule: `role:${role}` };
  throw new AppError('access_denied', `you may not do ${action}`, { rule: role ? `role:${role}` : 'default-deny' });
}

/** How a grant names a caller: `user:<id>` or `application:<id>`, by id, because names can be given away. */
export function principalOf(caller: Caller): string {
  return `${caller.actor.type}:${caller.actor.id}`;
}
