import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { addToOutbox } from '../outbox.ts';
import { eventOf } from '../record.ts';
import { hashPassword } from './password-hashes.ts';
import { makeOneTimePassword } from './passwords.ts';
import { endSessionsOf } from './session-store.ts';
import { forgetAllFailures } from './throttle.ts';
import {
  clearTotp,
  findUser,
  listAdminNames,
  replacePassword,
  replaceRecoveryCodes,
  updateUser,
} from './user-store.ts';
import type { UserRow } from './user-store.ts';
import { passwordChanges } from './user-fields.ts';

/** Who works on the server itself. No session proves who it was. */
const operator: Caller = { actor: { id: 'operator', type: 'service' }, source: {}, requestId: 'offline' };

/**
 * Makes a user an admin who can sign in, with a one-time password and without TOTP, and ends their sessions: for an
 * installation whose last admin is lost. Somebody who can run this has the database anyway. It needs neither the audit log nor
 * a key, so it also works while nothing runs. Its record is in the outbox of the same transaction (I2), and goes to the
 * log when Cardea runs again.
 * @throws AppError `not_found` that names the admins there are
 */
export async function recoverAdmin(
  ctx: Pick<VaultContext, 'db' | 'now' | 'passwords'>,
  username: string,
): Promise<{ oneTimePassword: string }> {
  const oneTimePassword = makeOneTimePassword();
  const passwordHash = await hashPassword(ctx, operator, oneTimePassword);
  await ctx.db.transaction(async (tx) => {
    const row = await findUser(tx, username);
    if (!row) throw await noSuchUser(tx);
    const next: UserRow = {
      ...row,
      role: 'admin',
      disabled: 0,
      expires_at: null,
      announce_at: null,
      totp_enabled: 0,
      password_state: 'one_time',
    };
    await openAccount(tx, { row, next, passwordHash, at: ctx.now().getTime() });
    const changes = passwordChanges(row, next);
    const resource = { user: username };
    const facts = { action: 'user.recover', rule: 'offline-recovery', changes, resource } as const;
    await addToOutbox(tx, ctx.db.engine, [eventOf(ctx, operator, facts)]);
  });
  return { oneTimePassword };
}

async function openAccount(
  tx: Transaction,
  { row, next, passwordHash, at }: { row: UserRow; next: UserRow; passwordHash: string; at: number },
): Promise<void> {
  const { id, username, password_hash: from } = row;
  await updateUser(tx, next, at);
  await replacePassword(tx, { id, from, to: passwordHash, state: 'one_time', updatedAt: at });
  await clearTotp(tx, id);
  await replaceRecoveryCodes(tx, id, []);
  await endSessionsOf(tx, { userId: id, except: undefined, endedAt: at });
  await forgetAllFailures(tx, username);
}

async function noSuchUser(db: Queryable): Promise<AppError> {
  const admins = await listAdminNames(db, 10);
  return new AppError('not_found', `there is no such user; admins are: ${admins.join(', ') || 'none'}`);
}
