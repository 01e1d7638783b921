import type { Role } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { principalLock } from '../locks.ts';

/** `chosen`: by its owner. `one_time`: signs in once. `one_time_used`: can only be changed. */
export type PasswordState = 'chosen' | 'one_time' | 'one_time_used';

export interface UserRow {
  id: string;
  username: string;
  role: Role;
  password_hash: string;
  password_state: PasswordState;
  disabled: number;
  expires_at: number | null;
  announce_at: number | null;
  totp_ciphertext: Uint8Array | null;
  totp_enabled: number;
  totp_last_step: number;
  created_at: number;
}

export async function findUser(db: Queryable, username: string): Promise<UserRow | undefined> {
  const [row] = await db.query<UserRow>(
    `select id, username, role, password_hash, password_state, disabled, expires_at, announce_at,
            totp_ciphertext, totp_enabled, totp_last_step, created_at
       from app_user
      where username = $1`,
    [username],
  );
  return row;
}

/** @throws AppError `not_found` */
export async function getUser(db: Queryable, username: string): Promise<UserRow> {
  const row = await findUser(db, username);
  if (!row) throw new AppError('not_found', 'no such user', { rule: 'no-such-user' });
  return row;
}

export async function findUserById(db: Queryable, id: string): Promise<UserRow | undefined> {
  const [row] = await db.query<UserRow>(
    `select id, username, role, password_hash, password_state, disabled, expires_at, announce_at,
            totp_ciphertext, totp_enabled, totp_last_step, created_at
       from app_user
      where id = $1`,
    [id],
  );
  return row;
}

/** Users after a name, by name. */
export async function listUserRows(
  db: Queryable,
  { after, limit }: { after: string; limit: number },
): Promise<UserRow[]> {
  return db.query<UserRow>(
    `select id, username, role, password_hash, password_state, disabled, expires_at, announce_at,
            totp_ciphertext, totp_enabled, totp_last_step, created_at
       from app_user
      where username > $1
      order by username
      limit $2`,
    [after, limit],
  );
}

export async function countUsers(db: Queryable): Promise<number> {
  const [row] = await db.query<{ users: number }>(`select count(*) as users from app_user`);
  return row?.users ?? 0;
}

/**
 * Whether a user can sign in, today and later: neither disabled nor with an expiry, nor with a one-time password that is
 * used up. Only such a user counts as the last admin or the last owner of a vault. `countOtherAdmins` and
 * `listVaultsOwnedAlone` ask the same in SQL.
 */
export function canSignInForGood({ disabled, expires_at, password_state }: UserRow): boolean {
  return disabled === 0 && expires_at === null && password_state !== 'one_time_used';
}

/** The number of admins other than `id` who count by the rule of `canSignInForGood`. */
export async function countOtherAdmins(tx: Transaction, id: string): Promise<number> {
  const [row] = await tx.query<{ admins: number }>(
    `select count(*) as admins
       from app_user
      where role = 'admin'
        and id <> $1
        and disabled = 0
        and expires_at is null
        and password_state <> 'one_time_used'`,
    [id],
  );
  return row?.admins ?? 0;
}

/** The usernames of admins, also of those who cannot sign in. At most `limit`. */
export async function listAdminNames(db: Queryable, limit: number): Promise<string[]> {
  const rows = await db.query<{ username: string }>(
    `select username
       from app_user
      where role = 'admin'
      order by username
      limit $1`,
    [limit],
  );
  return rows.map(({ username }) => username);
}

export interface NewUser {
  id: string;
  username: string;
  role: Role;
  passwordHash: string;
  passwordState: PasswordState;
  expiresAt: number | null;
  /** When the expiry must be announced next. */
  announceAt: number | null;
  createdAt: number;
}

export async function insertUser(tx: Transaction, user: NewUser): Promise<void> {
  await tx.query(
    `insert into app_user
            (id, username, role, password_hash, password_state, disabled, expires_at, announce_at,
             totp_ciphertext, totp_enabled, totp_last_step, created_at, updated_at)
     values ($1, $2, $3, $4, $5, 0, $6, $7, null, 0, 0, $8, $8)`,
    [
      user.id,
      user.username,
      user.role,
      user.passwordHash,
      user.passwordState,
      user.expiresAt,
      user.announceAt,
      user.createdAt,
    ],
  );
}

export async function updateUser(
  tx: Transaction,
  user: Pick<UserRow, 'id' | 'role' | 'disabled' | 'expires_at' | 'announce_at'>,
  updatedAt: number,
): Promise<void> {
  await tx.lock(principalLock(`user:${user.id}`));
  await tx.query(
    `update app_user
        set role = $2,
            disabled = $3,
            expires_at = $4,
            announce_at = $5,
            updated_at = $6
      where id = $1`,
    [user.id, user.role, user.disabled, user.expires_at, user.announce_at, updatedAt],
  );
}

export async function deleteUserRow(tx: Transaction, id: string): Promise<void> {
  await tx.lock(principalLock(`user:${id}`));
  await tx.query(`delete from app_user where id = $1`, [id]);
}

/**
 * Sets another password; false if another request has changed the password since `from` was read. A caller who takes the
 * old password away holds the user alone before (`clearTotp`, `updateUser`); a new hash of the same password takes
 * nothing away.
 */
export async function replacePassword(
  tx: Transaction,
  change: { id: string; from: string; to: string; state: PasswordState; updatedAt: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update app_user
        set password_hash = $3,
            password_state = $4,
            updated_at = $5
      where id = $1
        and password_hash = $2
     returning id`,
    [change.id, change.from, change.to, change.state, change.updatedAt],
  );
  return rows.length === 1;
}

/** Uses up a one-time password; false if another request used it first. */
export async function useOneTimePassword(tx: Transaction, id: string): Promise<boolean> {
  const rows = await tx.query(
    `update app_user
        set password_state = 'one_time_used'
      where id = $1
        and password_state = 'one_time'
     returning id`,
    [id],
  );
  return rows.length === 1;
}

/** Stores a TOTP secret that a first code must confirm; false while TOTP is on. */
export async function setUpTotpSecret(
  tx: Transaction,
  id: string,
  { ciphertext, dekVersion }: { ciphertext: Uint8Array; dekVersion: number },
): Promise<boolean> {
  await tx.lock(principalLock(`user:${id}`));
  const rows = await tx.query(
    `update app_user
        set totp_ciphertext = $2,
            totp_dek_version = $3
      where id = $1
        and totp_enabled = 0
     returning id`,
    [id, ciphertext, dekVersion],
  );
  return rows.length === 1;
}

/** Turns TOTP on with the secret that is set up; false if TOTP is on already, or if no secret is set up. */
export async function turnTotpOn(tx: Transaction, { id, step }: { id: string; step: number }): Promise<boolean> {
  await tx.lock(principalLock(`user:${id}`));
  const rows = await tx.query(
    `update app_user
        set totp_enabled = 1,
            totp_last_step = $2
      where id = $1
        and totp_enabled = 0
        and totp_ciphertext is not null
     returning id`,
    [id, step],
  );
  return rows.length === 1;
}

/** Deletes a TOTP secret that no code has confirmed; false while TOTP is on. */
export async function forgetUnconfirmedTotp(tx: Transaction, id: string): Promise<boolean> {
  await tx.lock(principalLock(`user:${id}`));
  const rows = await tx.query(
    `update app_user
        set totp_ciphertext = null,
            totp_dek_version = null
      where id = $1
        and totp_enabled = 0
     returning id`,
    [id],
  );
  return rows.length === 1;
}

/** Turns TOTP off, as if it had never been on. */
export async function clearTotp(tx: Transaction, id: string): Promise<void> {
  await tx.lock(principalLock(`user:${id}`));
  await tx.query(
    `update app_user
        set totp_ciphertext = null,
            totp_dek_version = null,
            totp_enabled = 0,
            totp_last_step = 0
      where id = $1`,
    [id],
  );
}

/** Uses up the code of a time step and of all earlier steps; false if it was used already (CVE-2025-6014). */
export async function useTotpStep(tx: Transaction, id: string, step: number): Promise<boolean> {
  const rows = await tx.query(
    `update app_user
        set totp_last_step = $2
      where id = $1
        and totp_last_step < $2
     returning id`,
    [id, step],
  );
  return rows.length === 1;
}

export async function replaceRecoveryCodes(tx: Transaction, userId: string, hashes: Uint8Array[]): Promise<void> {
  await tx.query(`delete from recovery_code where user_id = $1`, [userId]);
  for (const hash of hashes) {
    await tx.query(`insert into recovery_code (user_id, hash) values ($1, $2)`, [userId, hash]);
  }
}

/** Uses up a recovery code; false if the user has no such code, or no longer has it. */
export async function useRecoveryCode(tx: Transaction, userId: string, hash: Uint8Array): Promise<boolean> {
  const rows = await tx.query(`delete from recovery_code where user_id = $1 and hash = $2 returning user_id`, [
    userId,
    hash,
  ]);
  return rows.length === 1;
}
