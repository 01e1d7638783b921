import { joinRules } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import type { Queryable } from '@cardea/storage/db';
import { findGrantedIn } from './access-store.ts';
import type { GrantedIn, VaultRow } from './access-store.ts';
import type { VaultContext } from './context.ts';
import { decide } from './decide.ts';
import type { Decision, Granted } from './decide.ts';
import { rightByRole } from './right.ts';
import type { Right } from './right.ts';
import { vaultNotThere } from './not-there.ts';

/** An action that is not about one vault. */
export type SystemAction =
  | 'vault.create'
  | 'audit.read'
  | 'audit.export'
  | 'event.read'
  | 'status.read'
  | 'user.manage'
  | 'application.manage'
  | 'rotation.read'
  | 'rotation.manage'
  | 'seal.manage'
  | 'webhook.manage';

/** A permission in a vault, and the names it is limited to. */
export interface Allowed extends Right {
  vault: VaultRow;
  /** The caller must not see names of secrets outside of this prefix. */
  pathPrefix: string | undefined;
  /** The caller must not see names of keys that do not begin so. */
  keyPrefix: string | undefined;
}

/** What is decided about one action. */
type Permission = Omit<Allowed, 'decidedAt' | 'confirm'>;

/**
 * Finds the vault and decides. A vault or name that the caller may not see gives the same answer as one that does not
 * exist.
 * @throws AppError `not_found`, `access_denied`; `unavailable` while the audit log is known not to answer
 */
export async function authorize(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  on: { vault: string; name?: string | undefined },
): Promise<Allowed> {
  return authorizeAll(ctx, caller, [action], on);
}

/**
 * Like `authorize`, about a vault and a grant that were found in the same moment as the account of the caller.
 * @throws as `authorize`
 */
export function authorizeFound(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  on: { found: GrantedIn | undefined; name: string | undefined },
): Allowed {
  ctx.audit.admit();
  const decideOn = (by: Caller, found: GrantedIn | undefined): [Permission] => [
    requireAllowed(ctx, by, action, { found, name: on.name }),
  ];
  const [permission] = decideOn(caller, on.found);
  return {
    ...permission,
    decidedAt: caller.identifiedAt ?? ctx.steadyMs(),
    confirm: again(permission, decideOn, on.name),
  };
}

/**
 * Like `authorize`, for an operation that needs several rights at once: all of them or none. The rule names each. `found`
 * is the vault and the grant if they were found in the same moment as the account of the caller.
 * @throws what `authorize` throws for the first right that is refused
 */
export async function authorizeAll(
  ctx: VaultContext,
  caller: Caller,
  actions: [VaultAction, ...VaultAction[]],
  on: { vault: string; name?: string | undefined; found?: { grantedIn: GrantedIn | undefined } | undefined },
): Promise<Allowed> {
  const decideOn = (by: Caller, found: GrantedIn | undefined) =>
    actions.map((action) => requireAllowed(ctx, by, action, { found, name: on.name }));
  if (on.found) ctx.audit.admit();
  const { grantedIn } = on.found ?? { grantedIn: await lookUp(ctx, caller, on.vault) };
  const each = decideOn(caller, grantedIn);
  const [first] = each;
  const rule = joinRules(each.map((permission) => permission.rule));
  // What was found together with the caller is as old as that.
  const decidedAt = (on.found && caller.identifiedAt) ?? ctx.steadyMs();
  return { ...first!, rule, decidedAt, confirm: again(first!, decideOn, on.name) };
}

/** Whether the caller may read a secret. `db` supplies the grants, so a transaction decides by the grants it sees. */
export async function mayRead(
  ctx: VaultContext,
  db: Queryable,
  caller: Caller,
  { vault, name }: { vault: string; name: string },
): Promise<boolean> {
  const found = await findGrantedIn(db, vault, principalOf(caller));
  return found !== undefined && decideFor(ctx, caller, 'secret.read', { found, name }).allowed;
}

/** Whether the caller may learn that a secret with this name exists. `granted` is their grant in its vault. */
export function mayList(
  ctx: VaultContext,
  caller: Caller,
  { granted, name }: { granted: Granted | undefined; name: string },
): boolean {
  return decideFor(ctx, caller, 'secret.list', { found: { granted }, name }).allowed;
}

/**
 * Like `authorize`, for several names of one vault: all of them or none.
 * @throws what `explain` makes of the error that `authorize` throws for the first name that is refused
 */
export async function authorizeEach(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  on: { vault: string; names: string[] },
  explain: (error: unknown, index: number) => unknown,
): Promise<Allowed> {
  const decideOn = (by: Caller, found: GrantedIn | undefined) =>
    on.names.map((name, index) => {
      try {
        return requireAllowed(ctx, by, action, { found, name });
      } catch (error) {
        throw explain(error, index);
      }
    });
  const [allowed] = decideOn(caller, await lookUp(ctx, caller, on.vault));
  if (!allowed) throw new TypeError('no right was given');
  return { ...allowed, decidedAt: ctx.steadyMs(), confirm: decideOn };
}

// A right that is about no name in particular has decided which names are shown, so other limits are another right.
function again(
  given: Permission,
  decideOn: (by: Caller, found: GrantedIn | undefined) => Permission[],
  name: string | undefined,
): Right['confirm'] {
  return (by, found) => {
    for (const { pathPrefix, keyPrefix, rule } of decideOn(by, found)) {
      if (name !== undefined || (pathPrefix === given.pathPrefix && keyPrefix === given.keyPrefix)) continue;
      throw new AppError('access_denied', 'your rights here have just changed: repeat the call', { rule });
    }
  };
}

// Every decision is recorded, so none is made while the log cannot record it.
function lookUp(ctx: VaultContext, caller: Caller, vault: string): ReturnType<typeof findGrantedIn> {
  ctx.audit.admit();
  return findGrantedIn(ctx.db, vault, principalOf(caller));
}

function requireAllowed(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  { found, name }: { found: GrantedIn | undefined; name: string | undefined },
): Permission {
  if (!found) throw vaultNotThere();

  const { vault, granted } = found;
  const { allowed, visible, rule } = decideFor(ctx, caller, action, { found, name });
  if (!visible) throw vaultNotThere(rule);
  if (!allowed) throw new AppError('access_denied', `you may not do ${action} here`, { rule });
  const isUnlimited = rule.startsWith('role:') || granted?.owner;
  const limits = isUnlimited ? undefined : granted;
  return { vault, rule, pathPrefix: limits?.pathPrefix, keyPrefix: limits?.keyPrefix };
}

function decideFor(
  ctx: VaultContext,
  caller: Caller,
  action: VaultAction,
  { found: { granted }, name }: { found: Pick<GrantedIn, 'granted'>; name: string | undefined },
): Decision {
  // An unknown address is inside no network.
  const { ip = 'unknown' } = caller.source;
  return decide({ role: caller.role, granted, action, name, ip, now: ctx.now().getTime() });
}

const systemRights: Record<SystemAction, readonly string[]> = {
  'vault.create': ['admin', 'developer'],
  'audit.read': ['admin', 'ceo'],
  'audit.export': ['admin', 'ceo'],
  'event.read': ['admin', 'ceo'],
  'status.read': ['admin', 'ceo'],
  'user.manage': ['admin'],
  'application.manage': ['admin'],
  'rotation.read': ['admin', 'ceo'],
  'rotation.manage': ['admin'],
  'webhook.manage': ['admin'],
  'seal.manage': ['admin'],
};

/** @throws AppError `access_denied` */
export function authorizeSystem(ctx: Pick<VaultContext, 'steadyMs'>, caller: Caller, action: SystemAction): Right {
  const { role } = caller;
  if (role !== undefined && systemRights[action].includes(role)) return rightByRole(ctx, caller, `role:${role}`);
  throw new AppError('access_denied', `you may not do ${action}`, { rule: role ? `role:${role}` : 'default-deny' });
}

/** How a grant names a caller: `user:<id>` or `application:<id>`. By id, because a name can pass to another account. */
export function principalOf(caller: Caller): string {
  return `${caller.actor.type}:${caller.actor.id}`;
}
