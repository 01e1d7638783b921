import { changesBetween, timeField } from '@cardea/contracts/audit-changes';
import type { AuditFields } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import { nextAnnouncement } from '../announcements.ts';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { isUnlimited } from '../decide.ts';
import type { Granted } from '../decide.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import { refusePast } from '../refuse-past.ts';
import { principalResource } from '../resource.ts';
import {
  findGrantOf,
  findPrincipal,
  listGrantsOf,
  listVaultsOwnedAlone,
  removeGrant,
  upsertGrant,
} from './grant-store.ts';
import type { Principal, PrincipalGrant } from './grant-store.ts';

/** Names the grant of one principal in one vault. `principal` is `user:alice` or `application:ci`. */
export interface GrantRef {
  vault: string;
  principal: string;
}

/** The grants in a vault, by principal. */
export async function listGrants(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, limit, cursor }: { vault: string } & PageRequest,
): Promise<Audited<Page<PrincipalGrant>>> {
  const allowed = await authorize(ctx, caller, actionToSee(caller), { vault: name });
  const { vault, rule } = allowed;
  const list: ListId = ['grants', vault.id];
  const [after] = fromCursor(list, cursor, ['']);
  const rows = await listGrantsOf(ctx.db, { vaultId: vault.id, after, limit: limit + 1 });
  const page = pageOf(list, rows, limit, ({ principal }) => [principal]);
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, [allowed], { action: 'grant.list', rule, resource }, () => page);
}

/** The grant of one principal. @throws AppError `not_found` */
export async function readGrant(ctx: VaultContext, caller: Caller, ref: GrantRef): Promise<Audited<PrincipalGrant>> {
  const allowed = await authorize(ctx, caller, actionToSee(caller), { vault: ref.vault });
  const { vault, rule } = allowed;
  const found = await findPrincipal(ctx.db, ref.principal);
  const granted = found && (await findGrantOf(ctx.db, { vaultId: vault.id, principal: found.principal }));
  if (!granted) throw noSuchGrant();
  const resource = { vault: vault.name, vaultId: vault.id, ...principalResource(ref.principal) };
  return audited(ctx, caller, [allowed], { action: 'grant.read', rule, resource }, () => ({
    ...granted,
    principal: ref.principal,
  }));
}

// A ceo may see the grants for oversight, and may not change them.
function actionToSee({ role }: Caller): 'vault.read' | 'vault.manage' {
  return role === 'ceo' ? 'vault.read' : 'vault.manage';
}

function noSuchGrant(): AppError {
  return new AppError('not_found', 'the principal has no grant in this vault', { rule: 'no-such-grant' });
}

/**
 * Writes a grant and replaces the old one.
 * @throws AppError `not_found`; `invalid_request` for an expiry in the past; `conflict` if the grant would never have
 * an effect, or would leave the vault without an owner
 */
export async function putGrant(
  ctx: VaultContext,
  caller: Caller,
  ref: GrantRef,
  granted: Granted,
): Promise<Audited<{ grant: PrincipalGrant; isNew: boolean }>> {
  const allowed = await authorize(ctx, caller, 'vault.manage', { vault: ref.vault });
  const { vault, rule } = allowed;
  refusePast(ctx, granted.expiresAt);
  return changed(
    ctx,
    caller,
    async (tx) => {
      const found = await findPrincipal(tx, ref.principal);
      if (!found) throw new AppError('not_found', 'no such user or application', { rule: 'no-such-principal' });
      refuseWhatNeverCounts(found, granted);
      if (!granted.owner || !isUnlimited(granted))
        await keepAnOwner(tx, { vaultId: vault.id, principal: found.principal });
      const createdAt = ctx.now().getTime();
      const { principal } = found;
      const before = await upsertGrant(tx, {
        vaultId: vault.id,
        principal,
        granted,
        announceAt: nextAnnouncement(ctx, granted.expiresAt ?? null, createdAt),
        createdAt,
        createdBy: caller.actor.id,
      });
      const resource = { vault: vault.name, vaultId: vault.id, ...principalResource(ref.principal) };
      const changes = changesBetween(grantFields(before), grantFields(granted));
      return {
        value: { grant: { ...granted, principal: ref.principal }, isNew: before === undefined },
        facts: { action: 'grant.write', rule, resource, changes },
      };
    },
    { rights: [allowed] },
  );
}

// The role of a user comes before any grant. A grant to an admin takes effect once they are no longer an admin; until
// then they may do everything anyway. A grant to a ceo would only look as if it gave them something.
function refuseWhatNeverCounts({ role }: Principal, { owner }: Granted): void {
  if (owner && (role === undefined || role === 'ceo')) {
    throw new AppError('conflict', 'only a user can own a vault, and a ceo cannot', { rule: 'not-an-owner' });
  }
  if (role === 'ceo') {
    throw new AppError('conflict', 'a ceo cannot have a grant: only the role decides what a ceo may do', {
      rule: 'role-decides',
    });
  }
}

/** @throws AppError `not_found`, `conflict` for the last owner */
export async function deleteGrant(ctx: VaultContext, caller: Caller, ref: GrantRef): Promise<Audited<undefined>> {
  const allowed = await authorize(ctx, caller, 'vault.manage', { vault: ref.vault });
  const { vault, rule } = allowed;
  return changed(
    ctx,
    caller,
    async (tx) => {
      const found = await findPrincipal(tx, ref.principal);
      if (found) await keepAnOwner(tx, { vaultId: vault.id, principal: found.principal });
      const removed = found && (await removeGrant(tx, { vaultId: vault.id, principal: found.principal }));
      if (!removed) throw noSuchGrant();
      const resource = { vault: vault.name, vaultId: vault.id, ...principalResource(ref.principal) };
      const changes = changesBetween(grantFields(removed), {});
      return { value: undefined, facts: { action: 'grant.delete', rule, resource, changes } };
    },
    { rights: [allowed] },
  );
}

async function keepAnOwner(
  tx: Transaction,
  { vaultId, principal }: { vaultId: string; principal: string },
): Promise<void> {
  const alone = await listVaultsOwnedAlone(tx, principal);
  if (alone.some((vault) => vault.id === vaultId)) {
    throw new AppError('conflict', 'a vault must have at least one owner: make another user an owner first', {
      rule: 'last-owner',
    });
  }
}

/** The fields of a change that an audit record shows. */
export function grantFields(granted: Granted | undefined): AuditFields {
  if (!granted) return {};
  const { owner, secrets, keys, pathPrefix, keyPrefix, allowedCidrs, expiresAt } = granted;
  return { owner, secrets, keys, pathPrefix, keyPrefix, allowedCidrs, expiresAt: timeField(expiresAt) };
}
