import { AppError } from '@cardea/contracts/errors';
import { PasswordQueueFull } from '@cardea/crypto/password';
import type { VaultContext } from '../context.ts';

/** False for a wrong password, and for an unknown user after the same work. @throws AppError `unavailable` */
export async function verifyPassword(
  ctx: Pick<VaultContext, 'passwords'>,
  hash: string | undefined,
  password: string,
): Promise<boolean> {
  return inQueue(() => ctx.passwords.verify(hash, password));
}

/** The hash under which a password is stored. @throws AppError `unavailable` */
export async function hashPassword(ctx: Pick<VaultContext, 'passwords'>, password: string): Promise<string> {
  return inQueue(() => ctx.passwords.hash(password));
}

async function inQueue<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PasswordQueueFull)) throw error;
    throw new AppError('unavailable', 'too many passwords are being checked: try again later', { cause: error });
  }
}
