import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller, Role } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { UniqueViolation } from '@cardea/storage/db';
import type { Transaction } from '@cardea/storage/db';
import { announcementOf, nextAnnouncement } from '../announcements.ts';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { removeGrantsTo } from '../grants/grant-store.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import { refusePast } from '../refuse-past.ts';
import { handOver, refuseOwnerlessVaults } from './ownership.ts';
import type { HandedOver } from './ownership.ts';
import { makeOneTimePassword, refuseBadPassword } from './passwords.ts';
import { endAllSessions } from './sessions.ts';
import { hashPassword } from './password-hashes.ts';
import { forgetAllFailures, isLocked } from './throttle.ts';
import {
  countOtherAdmins,
  deleteUserRow,
  findUser,
  getUser,
  insertUser,
  listUserRows,
  updateUser,
} from './user-store.ts';
import type { UserRow } from './user-store.ts';
import { userFields } from './user-fields.ts';

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

export interface NewUser {
  username: string;
  role: Role;
  /** If it is not given, a one-time password is made. */
  password?: string | undefined;
  expiresAt?: Date | undefined;
}

/** @throws AppError `conflict` if the name is taken, `invalid_request` for a bad password or an expiry in the past */
export async function createUser(
  ctx: VaultContext,
  caller: Caller,
  user: NewUser,
): Promise<Audited<User & { oneTimePassword?: string }>> {
  authorizeSystem(ctx, caller, 'user.manage');
  refusePast(ctx, user.expiresAt);
  if (user.password !== undefined) await refuseBadPassword(user.password, user.username);
  return addUser(ctx, caller, user);
}

/** Makes a user without checking the password: Cardea made it, or it is checked already. @throws AppError `conflict` */
export async function addUser(
  ctx: VaultContext,
  caller: Caller,
  { username, role, password, expiresAt }: NewUser,
): Promise<Audited<User & { oneTimePassword?: string }>> {
  const { rule } = authorizeSystem(ctx, caller, 'user.manage');
  const oneTimePassword = password === undefined ? makeOneTimePassword() : undefined;
  const passwordHash = await hashPassword(ctx, caller, password ?? oneTimePassword!);
  const passwordState = password === undefined ? 'one_time' : 'chosen';
  try {
    return await changed(ctx, caller, async (tx) => {
      const createdAt = ctx.now().getTime();
      const id = uuidv7(createdAt);
      const due = expiresAt?.getTime() ?? null;
      const announceAt = nextAnnouncement(ctx, due, createdAt);
      const expiry = { expiresAt: due, announceAt };
      await insertUser(tx, { id, username, role, passwordHash, passwordState, ...expiry, createdAt });
      const row = (await findUser(tx, username))!;
      const changes = changesBetween({}, userFields(row));
      return {
        value: { ...toUser(row, false), ...(oneTimePassword === undefined ? {} : { oneTimePassword }) },
        facts: { action: 'user.create', rule, changes, resource: { user: username } },
      };
    });
  } catch (error) {
    if (error instanceof UniqueViolation)
      throw new AppError('conflict', 'a user with this name exists already', { cause: error });
    throw error;
  }
}

const USERS: ListId = ['users'];

export async function listUsers(
  ctx: VaultContext,
  caller: Caller,
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<User>>> {
  const right = authorizeSystem(ctx, caller, 'user.manage');
  const [after] = fromCursor(USERS, cursor, ['']);
  const rows = await listUserRows(ctx.db, { after, limit: limit + 1 });
  const { items, ...rest } = pageOf(USERS, rows, limit, ({ username }) => [username]);
  const page = { items: await Promise.all(items.map((row) => withLock(ctx, row))), ...rest };
  return audited(
    ctx,
    caller,
    [right],
    { action: 'user.list', rule: right.rule, resource: { count: items.length } },
    () => page,
  );
}

export async function readUser(ctx: VaultContext, caller: Caller, username: string): Promise<Audited<User>> {
  const right = authorizeSystem(ctx, caller, 'user.manage');
  const row = await getUser(ctx.db, username);
  const user = await withLock(ctx, row);
  const facts: EventFacts = { action: 'user.read', rule: right.rule, resource: { user: username } };
  return audited(ctx, caller, [right], facts, () => user);
}

/** @throws AppError `not_found`; `conflict` if no other admin would be left, or for the caller's own account */
export async function changeUser(
  ctx: VaultContext,
  caller: Caller,
  username: string,
  change: { role?: Role | undefined; disabled?: boolean | undefined; expiresAt?: Date | null | undefined },
): Promise<Audited<User>> {
  const { rule } = authorizeSystem(ctx, caller, 'user.manage');
  refusePast(ctx, change.expiresAt);
  return changed(ctx, caller, async (tx) => {
    const row = await getUser(tx, username);
    const { role = row.role, disabled = row.disabled === 1 } = change;
    const expiresAt = change.expiresAt === undefined ? row.expires_at : (change.expiresAt?.getTime() ?? null);
    const staysAdmin = role === 'admin' && !disabled && expiresAt === null;
    if (row.role === 'admin' && !staysAdmin) await refuseLoss(tx, caller, row);
    if (role === 'ceo' && row.role !== 'ceo') await refuseOwnerlessVaults(tx, row);
    const now = ctx.now().getTime();
    const announceAt = announcementOf(ctx, { due_at: row.expires_at, ...row }, { due: expiresAt, now });
    const next = { ...row, role, disabled: disabled ? 1 : 0, expires_at: expiresAt, announce_at: announceAt };
    await updateUser(tx, next, now);
    // Sessions of a disabled user are refused anyway. They end here, so that enabling the user does not revive them.
    if (disabled) await endAllSessions(ctx, tx, { userId: row.id });
    const locked = await isLocked(tx, username, now);
    const changes = changesBetween(userFields(row), userFields(next));
    return {
      value: toUser(next, locked),
      facts: { action: 'user.change', rule, changes, resource: { user: username } },
    };
  });
}

/** Deletes a user. `successor` gets the vaults they own alone. @throws AppError `conflict` that says what to do */
export async function deleteUser(
  ctx: VaultContext,
  caller: Caller,
  { username, successor }: { username: string; successor?: string | undefined },
): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'user.manage');
  return changed(ctx, caller, async (tx) => {
    const row = await getUser(tx, username);
    await refuseLoss(tx, caller, row);
    const vaults = await handOver(ctx, tx, { from: row, successor, by: caller.actor.id });
    await removeGrantsTo(tx, `user:${row.id}`);
    await deleteUserRow(tx, row.id);
    await forgetAllFailures(tx, username);
    const reason = vaults.length === 0 ? undefined : `succeeded by ${successor}`;
    const changes = changesBetween(userFields(row), {});
    const facts: EventFacts = { action: 'user.delete', rule, reason, changes, resource: { user: username } };
    const handedOver = vaults.map((vault) => handOverOf(vault, { rule, from: username, to: successor! }));
    return { value: undefined, facts: [facts, ...handedOver] };
  });
}

function handOverOf(
  { id: vaultId, name: vault }: HandedOver,
  { rule, from, to }: { rule: AuditRule; from: string; to: string },
): EventFacts {
  const changes = changesBetween({ owner: from }, { owner: to });
  return { action: 'vault.handOver', rule, changes, resource: { vault, vaultId, user: to } };
}

export async function unlockUser(ctx: VaultContext, caller: Caller, username: string): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'user.manage');
  return changed(ctx, caller, async (tx) => {
    await getUser(tx, username);
    const locked = await isLocked(tx, username, ctx.now().getTime());
    await forgetAllFailures(tx, username);
    const changes = changesBetween({ locked }, { locked: false });
    return { value: undefined, facts: { action: 'user.unlock', rule, changes, resource: { user: username } } };
  });
}

export async function revokeSessions(ctx: VaultContext, caller: Caller, username: string): Promise<Audited<undefined>> {
  const { rule } = authorizeSystem(ctx, caller, 'user.manage');
  return changed(ctx, caller, async (tx) => {
    const { id } = await getUser(tx, username);
    await endAllSessions(ctx, tx, { userId: id });
    return { value: undefined, facts: { action: 'user.revokeSessions', rule, resource: { user: username } } };
  });
}

async function refuseLoss(tx: Transaction, caller: Caller, row: UserRow): Promise<void> {
  if (row.id === caller.actor.id) {
    throw new AppError('conflict', 'you cannot delete, disable, demote or expire your own account: ask another admin', {
      rule: 'own-account',
    });
  }
  if (row.role === 'admin' && (await countOtherAdmins(tx, row.id)) === 0) {
    throw new AppError('conflict', 'this is the last admin: make another user an admin first', { rule: 'last-admin' });
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
