import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { randomSecret } from '@cardea/crypto/ids';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { passwordChanged, withCurrentPassword } from './current-password.ts';
import { checkNewPassword } from './password-rules.ts';
import { endAllSessions } from './sessions.ts';
import { hashPassword } from './password-hashes.ts';
import { forgetAllFailures, forgetFailures } from './throttle.ts';
import type { Place } from './throttle.ts';
import { ownUser } from './totp.ts';
import { clearTotp, forgetUnconfirmedTotp, getUser, replacePassword, replaceRecoveryCodes } from './user-store.ts';
import type { UserRow } from './user-store.ts';
import { passwordChanges } from './user-fields.ts';

/** Checks a new password. @throws AppError `invalid_request` that says what is wrong with it */
export async function refuseBadPassword(password: string, username: string): Promise<void> {
  const problem = await checkNewPassword(password, username);
  if (problem !== undefined) throw new AppError('invalid_request', problem, { rule: 'password-rules' });
}

/** A password for one sign-in, after which the user must choose another: 96 random bits. */
export function makeOneTimePassword(): string {
  return randomSecret(12);
}

/**
 * Changes the caller's own password, ends every other session, and deletes a TOTP secret that no code has confirmed:
 * somebody who knew the old password may have made it.
 * @throws AppError `access_denied`, `invalid_request`, `conflict`, `rate_limited`
 */
export async function changeOwnPassword(
  ctx: VaultContext,
  caller: Caller,
  { currentPassword, newPassword }: { currentPassword: string; newPassword: string },
): Promise<Audited<undefined>> {
  const user = await ownUser(ctx, caller);
  await refuseBadPassword(newPassword, user.username);
  if (asHashed(newPassword) === asHashed(currentPassword))
    throw new AppError('invalid_request', 'the new password must differ from the current one');
  return withCurrentPassword(ctx, caller, { user, currentPassword }, async (place) => {
    const to = await hashPassword(ctx, caller, newPassword);
    return choosePassword(ctx, caller, { user, to, place });
  });
}

// Other spellings of one password, such as full-width letters, have one hash.
function asHashed(password: string): string {
  return password.toWellFormed().normalize('NFKC');
}

async function choosePassword(
  ctx: VaultContext,
  caller: Caller,
  { user, to, place }: { user: UserRow; to: string; place: Place },
): Promise<Audited<undefined>> {
  const { id, password_hash: from } = user;
  return changed(
    ctx,
    caller,
    async (tx) => {
      const replaced = await replacePassword(tx, { id, from, to, state: 'chosen', updatedAt: ctx.now().getTime() });
      if (!replaced) throw passwordChanged();
      await forgetUnconfirmedTotp(tx, id);
      await forgetFailures(tx, place);
      await endAllSessions(ctx, tx, { userId: id, except: caller.actor.session });
      const changes = passwordChanges(user, { ...user, password_state: 'chosen' });
      return { value: undefined, facts: { action: 'auth.password', rule: 'self', changes } };
    },
    { account: 'alone' },
  );
}

/**
 * Makes a one-time password, ends every session and turns TOTP off: for a user who lost their password or device. The
 * admin's own account is refused: see `withCurrentPassword`.
 * @throws AppError `not_found`; `conflict` for the caller's own account
 */
export async function resetPassword(
  ctx: VaultContext,
  caller: Caller,
  username: string,
): Promise<Audited<{ oneTimePassword: string }>> {
  const { rule } = authorizeSystem(ctx, caller, 'user.manage');
  const oneTimePassword = makeOneTimePassword();
  const to = await hashPassword(ctx, caller, oneTimePassword);
  return changed(ctx, caller, async (tx) => {
    const user = await getUser(tx, username);
    const { id, password_hash: from } = user;
    if (id === caller.actor.id) throw ownAccount();
    await clearTotp(tx, id);
    await replacePassword(tx, { id, from, to, state: 'one_time', updatedAt: ctx.now().getTime() });
    await replaceRecoveryCodes(tx, id, []);
    await endAllSessions(ctx, tx, { userId: id });
    await forgetAllFailures(tx, username);
    const changes = passwordChanges(user, { ...user, password_state: 'one_time', totp_enabled: 0 });
    return {
      value: { oneTimePassword },
      facts: { action: 'user.resetPassword', rule, changes, resource: { user: username } },
    };
  });
}

function ownAccount(): AppError {
  const message = 'you cannot reset your own password: change it with POST /api/v1/auth/password, or ask another admin';
  return new AppError('conflict', message, { rule: 'own-account' });
}
