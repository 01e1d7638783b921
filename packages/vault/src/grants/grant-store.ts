import type { Role } from '@cardea/contracts/caller';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { toGranted } from '../access-store.ts';
import type { GrantColumns, VaultRow } from '../access-store.ts';
import type { Granted } from '../decide.ts';
import { principalLock } from '../locks.ts';
import type { AccountState } from '../stopped-accounts.ts';

export interface PrincipalGrant extends Granted {
  /** `user:alice`, `application:ci`. */
  principal: string;
}

/** The grants in a vault, after a principal: applications by name, then users by name. */
export async function listGrantsOf(
  db: Queryable,
  { vaultId, after, limit }: { vaultId: string; after: string; limit: number },
): Promise<PrincipalGrant[]> {
  const rows = await db.query<GrantColumns & { principal: string }>(
    `select principal, owner, secrets, keys, allowed_cidrs, path_prefix, key_prefix, expires_at
       from (select coalesce('user:' || u.username, 'application:' || a.name) as principal,
                    g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.key_prefix, g.expires_at
               from vault_grant g
               left join app_user u on g.principal = 'user:' || u.id
               left join application a on g.principal = 'application:' || a.id
              where g.vault_id = $1) as named
      where principal > $2
      order by principal
      limit $3`,
    [vaultId, after, limit],
  );
  return rows.map((row) => ({ ...toGranted(row), principal: row.principal }));
}

/** The grant of a principal, which is named by its id. */
export async function findGrantOf(
  db: Queryable,
  { vaultId, principal }: { vaultId: string; principal: string },
): Promise<Granted | undefined> {
  const [row] = await db.query<GrantColumns>(
    `select owner, secrets, keys, allowed_cidrs, path_prefix, key_prefix, expires_at
       from vault_grant
      where vault_id = $1
        and principal = $2`,
    [vaultId, principal],
  );
  return row && toGranted(row);
}

export interface VaultGrant extends Granted {
  vault: VaultRow;
}

/** The grants of one principal, by vault name. */
export async function listGrantsTo(db: Queryable, principal: string): Promise<VaultGrant[]> {
  const rows = await db.query<GrantColumns & VaultRow>(
    `select v.id, v.name, v.description, v.max_versions, v.public_jwks, v.created_at,
            g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.key_prefix, g.expires_at
       from vault_grant g
       join vault v on v.id = g.vault_id
      where g.principal = $1
      order by v.name`,
    [principal],
  );
  return rows.map((row) => {
    const { id, name, description, max_versions, public_jwks, created_at } = row;
    return { ...toGranted(row), vault: { id, name, description, max_versions, public_jwks, created_at } };
  });
}

export interface NewGrant {
  vaultId: string;
  principal: string;
  granted: Granted;
  /** When the expiry must be announced next. A grant without an expiry has none. */
  announceAt?: number | null;
  createdAt: number;
  createdBy: string;
}

/** Writes a grant and returns the old one that it replaces; undefined if there was none. */
export async function upsertGrant(tx: Transaction, grant: NewGrant): Promise<Granted | undefined> {
  const { vaultId, principal, granted, announceAt = null, createdAt, createdBy } = grant;
  const before = await removeGrant(tx, { vaultId, principal });
  await tx.query(
    `insert into vault_grant
            (vault_id, principal, owner, secrets, keys, allowed_cidrs, path_prefix, key_prefix, expires_at,
             announce_at, created_at, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      vaultId,
      principal,
      granted.owner,
      JSON.stringify(granted.secrets),
      JSON.stringify(granted.keys),
      JSON.stringify(granted.allowedCidrs),
      granted.pathPrefix ?? null,
      granted.keyPrefix ?? null,
      granted.expiresAt ?? null,
      announceAt,
      createdAt,
      createdBy,
    ],
  );
  return before;
}

/** Deletes a grant and returns it; undefined if there was none. */
export async function removeGrant(
  tx: Transaction,
  { vaultId, principal }: { vaultId: string; principal: string },
): Promise<Granted | undefined> {
  await tx.lock(principalLock(principal));
  const [row] = await tx.query<GrantColumns>(
    `delete from vault_grant
      where vault_id = $1
        and principal = $2
     returning owner, secrets, keys, allowed_cidrs, path_prefix, key_prefix, expires_at`,
    [vaultId, principal],
  );
  return row && toGranted(row);
}

export async function removeGrantsTo(tx: Transaction, principal: string): Promise<void> {
  await tx.lock(principalLock(principal));
  await tx.query(`delete from vault_grant where principal = $1`, [principal]);
}

/**
 * The vaults that have this owner and no other working one. Another owner counts if its grant has no limit and the user
 * is no ceo and can sign in for good: the rule of `canSignInForGood`, which every count of owners and admins follows.
 */
export async function listVaultsOwnedAlone(
  tx: Transaction,
  principal: string,
): Promise<{ id: string; name: string }[]> {
  return tx.query<{ id: string; name: string }>(
    `select v.id, v.name
       from vault v
       join vault_grant g on g.vault_id = v.id
      where g.principal = $1
        and g.owner = 1
        and not exists (select 1
                          from vault_grant o
                          join app_user u on u.id = substr(o.principal, 6)
                         where o.vault_id = v.id
                           and o.owner = 1
                           and o.expires_at is null
                           and o.allowed_cidrs = '[]'
                           and o.path_prefix is null
                           and o.principal <> $1
                           and u.role <> 'ceo'
                           and u.disabled = 0
                           and u.expires_at is null
                           and u.password_state <> 'one_time_used')
      order by v.name`,
    [principal],
  );
}

/** A user or an application, named by its id as grants name it, and what decides whether it may act at all. */
export type Principal = { principal: string } & (UserState | ApplicationState);

type UserState = AccountState & { role: Role; password_state: string };
type ApplicationState = AccountState & { role?: undefined; allowed_cidrs: string };

/** Finds `user:alice` or `application:ci`. */
export async function findPrincipal(db: Queryable, principal: string): Promise<Principal | undefined> {
  const [type, name = ''] = principal.split(':');
  const [row] =
    type === 'user'
      ? await db.query<UserState & { id: string }>(
          `select id, role, disabled, expires_at, password_state from app_user where username = $1`,
          [name],
        )
      : await db.query<ApplicationState & { id: string }>(
          `select id, disabled, expires_at, allowed_cidrs from application where name = $1`,
          [name],
        );
  return row && { ...row, principal: `${type}:${row.id}` };
}
