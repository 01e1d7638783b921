import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { PasswordQueueFull } from '@cardea/crypto/password';
import type { Turn, Waiter } from '@cardea/crypto/password';
import type { VaultContext } from '../context.ts';

type Hashing = Pick<VaultContext, 'passwords'>;

/**
 * False for a wrong password, and for an unknown user after the same work.
 * @throws AppError `unavailable` if too many passwords wait; `rate_limited` if too many of this caller wait
 */
export async function verifyPassword(
  ctx: Hashing,
  caller: Caller,
  { hash, password, turn = 'first' }: { hash: string | undefined; password: string; turn?: Turn },
): Promise<boolean> {
  return inQueue(() => ctx.passwords.verify(hash, password, { ...shareOf(caller), turn }));
}

/** The hash under which a password is stored. @throws AppError as `verifyPassword` */
export async function hashPassword(ctx: Hashing, caller: Caller, password: string): Promise<string> {
  return inQueue(() => ctx.passwords.hash(password, shareOf(caller)));
}

// Cardea itself is not one caller among others.
function shareOf(caller: Caller): Waiter {
  return caller.actor.type === 'service' ? {} : { from: callerKey(caller) };
}

async function inQueue<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof PasswordQueueFull)) throw cause;
    if (!cause.isOwnShare) {
      throw new AppError('unavailable', 'too many passwords are being checked: try again later', { cause });
    }
    throw new AppError('rate_limited', 'too many passwords of yours are being checked', { cause, rule: 'under-way' });
  }
}
