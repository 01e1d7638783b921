import type { Audited } from '@cardea/contracts/audited';
import type { Caller, Role } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { randomSecret, uuidv7 } from '@cardea/crypto/ids';
import { UniqueViolation } from '@cardea/storage/db';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { listVaultsOwnedAlone, removeGrantsTo, upsertGrant } from '../grants/grant-store.ts';
import { audited, changed } from '../record.ts';
import { checkNewPassword } from './password-rules.ts';
import { endAllSessions } from './sessions.ts';
import { hashPassword, verifyPassword } from './sign-in.ts';
import { countAttempt, forgetFailures, isLocked, uncountAttempt } from './throttle.ts';
import { ownUser } from './totp.ts';
import {
  countOtherAdmins,
  countUsers,
  deleteUserRow,
  findUser,
  insertUser,
  listExpiredUsers,
  listUserRows,
  replacePassword,
  replaceRecoveryCodes,
  setTotp,
  updateUser,
} from './user-store.ts';
import type { UserRow } from './user-store.ts';

export interface User {
  id: string;
  username: string;
  role: Role;
  disabled: boolean;
  locked: boolean;
  totp: boolean;
  mustChangePassword: boolean;
  expiresAt?: Date;
  createdAt: Date;
}

/** Cardea itself, when it acts before anybody could ask it to. */
export const systemCaller: Caller = {
  actor: { id: 'cardea', type: 'service' },
  role: 'admin',
  source: {},
  requestId: 'start',
};

/**
 * Makes the user `admin` in a database without users and hands its password to `keep` before the
 * user exists, so that a crash between the two leaves a password nobody needs rather than a user
 * nobody can be. Does nothing where there is a user.
 */
export async function ensureAdmin(ctx: VaultContext, keep: (password: string) => Promise<void>): Promise<void> {
  if (await hasUsers(ctx.db)) return;
  const password = randomSecret(18);
  await keep(password);
  try {
    await addUser(ctx, systemCaller, { username: 'admin', role: 'admin', password });
  } catch (error) {
    // Another process that starts for the first time was faster.
    if (!(error instanceof AppError) || error.code !== 'conflict') throw error;
  }
}

/** False in a database that nobody has started with yet. */
export async function hasUsers(db: Queryable): Promise<boolean> {
  return (await countUsers(db)) > 0;
}

export interface NewUser {
  username: string;
  role: Role;
  /** Without one, a one-time password is made. */
  password?: string | undefined;
  expiresAt?: Date | undefined;
}

/** @throws AppError `conflict` if the name is taken, `invalid_request` for a bad password or an end that has passed */
export async function createUser(
  ctx: VaultContext,
  caller: Caller,
  user: NewUser,
): Promise<Audited<User & { oneTimePassword?: string }>> {
  authorizeSystem(caller, 'user.manage');
  refusePast(ctx, user.expiresAt);
  if (user.password !== undefined) await refuseBadPassword(user.password, user.username);
  return addUser(ctx, caller, user);
}

async function addUser(
  ctx: VaultContext,
  caller: Caller,
  { username, role, password, expiresAt }: NewUser,
): Promise<Audited<User & { oneTimePassword?: string }>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  const oneTimePassword = password === undefined ? randomSecret(12) : undefined;
  const passwordHash = await hashPassword(ctx, password ?? oneTimePassword!);
  const passwordState = password === undefined ? 'one_time' : 'chosen';
  try {
    return await changed(ctx, caller, async (tx) => {
      const createdAt = ctx.now().getTime();
      const id = uuidv7(createdAt);
      const end = expiresAt?.getTime() ?? null;
      await insertUser(tx, { id, username, role, passwordHash, passwordState, expiresAt: end, createdAt });
      const row = (await findUser(tx, username))!;
      return {
        value: { ...toUser(row, false), ...(oneTimePassword === undefined ? {} : { oneTimePassword }) },
        happening: { action: 'user.create', rule, reason: `role ${role}`, resource: { user: username } },
      };
    });
  } catch (error) {
    if (error instanceof UniqueViolation)
      throw new AppError('conflict', 'a user of this name exists', { cause: error });
    throw error;
  }
}

export async function listUsers(
  ctx: VaultContext,
  caller: Caller,
  { limit, cursor = '' }: { limit: number; cursor?: string | undefined },
): Promise<Audited<{ items: User[]; nextCursor?: string }>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  const rows = await listUserRows(ctx.db, { cursor, limit: limit + 1 });
  const items = await Promise.all(rows.slice(0, limit).map((row) => withLock(ctx, row)));
  const page = rows.length > limit ? { items, nextCursor: items.at(-1)!.username } : { items };
  return audited(ctx, caller, { action: 'user.list', rule, resource: { count: items.length } }, page);
}

export async function readUser(ctx: VaultContext, caller: Caller, username: string): Promise<Audited<User>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  const row = await getUser(ctx.db, username);
  return audited(ctx, caller, { action: 'user.read', rule, resource: { user: username } }, withLock(ctx, row));
}

/** @throws AppError `not_found`; `conflict` where nobody would be left to administer, or for the caller's own account */
export async function changeUser(
  ctx: VaultContext,
  caller: Caller,
  username: string,
  change: { role?: Role | undefined; disabled?: boolean | undefined; expiresAt?: Date | null | undefined },
): Promise<Audited<User>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  refusePast(ctx, change.expiresAt ?? undefined);
  return changed(ctx, caller, async (tx) => {
    const row = await getUser(tx, username);
    const { role = row.role, disabled = row.disabled === 1 } = change;
    const expiresAt = change.expiresAt === undefined ? row.expires_at : (change.expiresAt?.getTime() ?? null);
    const staysAdmin = role === 'admin' && !disabled && expiresAt === null;
    if (row.role === 'admin' && !staysAdmin) await refuseLoss(tx, caller, row);
    if (role === 'ceo' && row.role !== 'ceo') await refuseOwnerlessVaults(tx, row);
    const next = { ...row, role, disabled: disabled ? 1 : 0, expires_at: expiresAt };
    await updateUser(tx, { id: row.id, role, disabled: next.disabled, expiresAt, updatedAt: ctx.now().getTime() });
    // They are refused anyway; enabling the account again must not bring them back.
    if (disabled) await endAllSessions(ctx, tx, { userId: row.id });
    const locked = await isLocked(tx, username, ctx.now().getTime());
    const reason = Object.keys(change).join(' ') || 'nothing';
    return {
      value: toUser(next, locked),
      happening: { action: 'user.change', rule, reason, resource: { user: username } },
    };
  });
}

/** Deletes a user. Vaults they own alone go to `successor`. @throws AppError `conflict` that says what to do */
export async function deleteUser(
  ctx: VaultContext,
  caller: Caller,
  { username, successor }: { username: string; successor?: string | undefined },
): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  return changed(ctx, caller, async (tx) => {
    const row = await getUser(tx, username);
    await refuseLoss(tx, caller, row);
    const handedOver = await handOver(ctx, tx, { caller, from: row, successor });
    await removeGrantsTo(tx, `user:${row.id}`);
    await deleteUserRow(tx, row.id);
    await forgetFailures(tx, username);
    const reason = handedOver.length === 0 ? {} : { reason: `${successor} owns ${handedOver.join(' ').slice(0, 900)}` };
    return { value: undefined, happening: { action: 'user.delete', rule, resource: { user: username }, ...reason } };
  });
}

async function handOver(
  ctx: VaultContext,
  tx: Transaction,
  { caller, from, successor }: { caller: Caller; from: UserRow; successor: string | undefined },
): Promise<string[]> {
  const vaults = await listVaultsOwnedAlone(tx, `user:${from.id}`);
  if (vaults.length === 0) return [];
  if (successor === undefined) throw ownsAlone(vaults, 'name a successor (?successor=…), or another owner');
  const heir = await findUser(tx, successor);
  const createdAt = ctx.now().getTime();
  const canOwn = heir && heir.id !== from.id && heir.role !== 'ceo' && heir.disabled === 0;
  if (!canOwn || (heir.expires_at !== null && heir.expires_at <= createdAt)) {
    throw new AppError('conflict', 'the successor must be another user who can sign in, and no ceo', {
      rule: 'not-an-owner',
    });
  }
  const granted = { owner: true, secrets: [], keys: [], allowedCidrs: [] };
  for (const { id: vaultId } of vaults) {
    await upsertGrant(tx, { vaultId, principal: `user:${heir.id}`, granted, createdAt, createdBy: caller.actor.id });
  }
  return vaults.map((vault) => vault.name);
}

function ownsAlone(vaults: { name: string }[], whatToDo: string): AppError {
  const names = vaults.slice(0, 5).map((vault) => vault.name);
  return new AppError('conflict', `they own ${names.join(', ')} alone: ${whatToDo}`, { rule: 'owns-alone' });
}

/** Makes a one-time password, ends every session and turns TOTP off: for somebody who lost what they sign in with. */
export async function resetPassword(
  ctx: VaultContext,
  caller: Caller,
  username: string,
): Promise<Audited<{ oneTimePassword: string }>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  const oneTimePassword = randomSecret(12);
  const to = await hashPassword(ctx, oneTimePassword);
  return changed(ctx, caller, async (tx) => {
    const { id, password_hash: from } = await getUser(tx, username);
    await replacePassword(tx, { id, from, to, state: 'one_time', updatedAt: ctx.now().getTime() });
    await setTotp(tx, { id, ciphertext: null, enabled: 0, lastStep: 0 });
    await replaceRecoveryCodes(tx, id, []);
    await endAllSessions(ctx, tx, { userId: id });
    await forgetFailures(tx, username);
    return {
      value: { oneTimePassword },
      happening: { action: 'user.resetPassword', rule, resource: { user: username } },
    };
  });
}

export async function unlockUser(ctx: VaultContext, caller: Caller, username: string): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  return changed(ctx, caller, async (tx) => {
    await getUser(tx, username);
    await forgetFailures(tx, username);
    return { value: undefined, happening: { action: 'user.unlock', rule, resource: { user: username } } };
  });
}

export async function revokeSessions(ctx: VaultContext, caller: Caller, username: string): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(caller, 'user.manage');
  return changed(ctx, caller, async (tx) => {
    const { id } = await getUser(tx, username);
    await endAllSessions(ctx, tx, { userId: id });
    return { value: undefined, happening: { action: 'user.revokeSessions', rule, resource: { user: username } } };
  });
}

/**
 * Changes the caller's own password; every other session ends. The current one is asked for and wrong ones are counted
 * as at sign-in, since who has stolen a session would guess here.
 * @throws AppError `access_denied`, `invalid_request`, `conflict`, `rate_limited`
 */
export async function changeOwnPassword(
  ctx: VaultContext,
  caller: Caller,
  { currentPassword, newPassword }: { currentPassword: string; newPassword: string },
): Promise<Audited<undefined>> {
  const user = await ownUser(ctx, caller);
  await refuseBadPassword(newPassword, user.username);
  if (newPassword === currentPassword) throw new AppError('invalid_request', 'the new password is the current one');
  await countAttempt(ctx, caller, user.username);
  if (!(await verifyPassword(ctx, user.password_hash, currentPassword))) {
    throw new AppError('access_denied', 'the current password is wrong', { rule: 'bad-password' });
  }
  const to = await hashPassword(ctx, newPassword);
  return changed(ctx, caller, async (tx) => {
    const { id, password_hash: from } = user;
    const replaced = await replacePassword(tx, { id, from, to, state: 'chosen', updatedAt: ctx.now().getTime() });
    if (!replaced) throw new AppError('conflict', 'the password was changed by somebody else just now');
    await uncountAttempt(tx, caller, user.username);
    await endAllSessions(ctx, tx, { userId: id, except: caller.actor.session });
    return { value: undefined, happening: { action: 'auth.password', rule: 'self' } };
  });
}

/** Closes the accounts whose end has passed. They are refused from that second on; this only makes it show. */
export async function sweepExpiredUsers(ctx: VaultContext): Promise<void> {
  for (const { username } of await listExpiredUsers(ctx.db, ctx.now().getTime())) {
    try {
      await expireUser(ctx, username);
    } catch (error) {
      // Deleted, or its end moved, since it was listed: nothing is due any more.
      if (!(error instanceof AppError && error.code === 'not_found')) throw error;
    }
  }
}

async function expireUser(ctx: VaultContext, username: string): Promise<void> {
  await changed(ctx, systemCaller, async (tx) => {
    const now = ctx.now().getTime();
    const { id, role, disabled, expires_at: expiresAt } = await getUser(tx, username);
    const isDue = disabled === 0 && expiresAt !== null && expiresAt <= now;
    if (!isDue) throw new AppError('not_found', 'no such user whose end has passed');
    await updateUser(tx, { id, role, disabled: 1, expiresAt, updatedAt: now });
    await endAllSessions(ctx, tx, { userId: id });
    return { value: undefined, happening: { action: 'user.expire', rule: 'expiresAt', resource: { user: username } } };
  });
}

async function getUser(db: Parameters<typeof findUser>[0], username: string): Promise<UserRow> {
  const row = await findUser(db, username);
  if (!row) throw new AppError('not_found', 'no such user', { rule: 'no-such-user' });
  return row;
}

// A ceo writes nothing, so a vault whose only owner becomes one would have none.
async function refuseOwnerlessVaults(tx: Transaction, row: UserRow): Promise<void> {
  const vaults = await listVaultsOwnedAlone(tx, `user:${row.id}`);
  if (vaults.length > 0) throw ownsAlone(vaults, 'make another user owner first');
}

async function refuseLoss(tx: Transaction, caller: Caller, row: UserRow): Promise<void> {
  if (row.id === caller.actor.id) {
    throw new AppError('conflict', 'nobody removes or demotes themself: ask another admin', { rule: 'own-account' });
  }
  if (row.role === 'admin' && (await countOtherAdmins(tx, row.id)) === 0) {
    throw new AppError('conflict', 'this is the last admin: make another one first', { rule: 'last-admin' });
  }
}

async function refuseBadPassword(password: string, username: string): Promise<void> {
  const problem = await checkNewPassword(password, username);
  if (problem !== undefined) throw new AppError('invalid_request', problem, { rule: 'password-rules' });
}

function refusePast(ctx: VaultContext, expiresAt: Date | undefined): void {
  if (expiresAt !== undefined && expiresAt <= ctx.now()) {
    throw new AppError('invalid_request', 'expiresAt: has passed already');
  }
}

async function withLock(ctx: VaultContext, row: UserRow): Promise<User> {
  return toUser(row, await isLocked(ctx.db, row.username, ctx.now().getTime()));
}

function toUser(row: UserRow, locked: boolean): User {
  return {
    id: row.id,
    username: row.username,
    role: row.role,
    disabled: row.disabled === 1,
    locked,
    totp: row.totp_enabled === 1,
    mustChangePassword: row.password_state !== 'chosen',
    ...(row.expires_at === null ? {} : { expiresAt: new Date(row.expires_at) }),
    createdAt: new Date(row.created_at),
  };
}
