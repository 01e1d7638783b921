import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { VaultContext } from '../context.ts';
import { verifyPassword } from './password-hashes.ts';
import { throttled } from './throttle.ts';
import type { Place } from './throttle.ts';
import type { UserRow } from './user-store.ts';

/**
 * Runs `work` if `currentPassword` is the password of the caller's own account. A session alone must not change what its
 * user signs in with: a thief of an access token would lock the user out for good. So each such change runs in here, or
 * asks for a code (`disableTotp`). Wrong passwords are counted as at sign-in, because a thief of a session would guess
 * the password here. The transaction of `work` must check that `user.password_hash` is still the one that was compared,
 * and calls `forgetFailures` with the place that it gets.
 * @throws AppError `access_denied` for a wrong password; `rate_limited` after too many; `unavailable`; whatever `work` throws
 */
export function withCurrentPassword<T>(
  ctx: VaultContext,
  caller: Caller,
  { user, currentPassword }: { user: UserRow; currentPassword: string },
  work: (place: Place) => Promise<T>,
): Promise<T> {
  const { username, password_hash: hash } = user;
  return throttled(ctx, { caller, username, account: user }, async (place) => {
    if (await verifyPassword(ctx, caller, { hash, password: currentPassword })) return work(place);
    throw new AppError('access_denied', 'the current password is wrong', { rule: 'bad-password' });
  });
}

/** The password was changed after it was compared. */
export function passwordChanged(): AppError {
  return new AppError('conflict', 'another request has just changed the password', { rule: 'password-changed' });
}
