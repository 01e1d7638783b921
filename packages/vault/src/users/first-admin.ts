import { AppError } from '@cardea/contracts/errors';
import { randomSecret } from '@cardea/crypto/ids';
import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { systemCaller } from '../system-caller.ts';
import { verifyPassword } from './password-hashes.ts';
import { countUsers, findUser } from './user-store.ts';
import { addUser } from './users.ts';

/** Keeps the first password until it is changed. */
export interface InitialPassword {
  /** Keeps a password, unless one is kept already. Resolves to the kept password, once it is durable. */
  keep(password: string): Promise<string>;
  /** Deletes the kept password. */
  forget(): Promise<void>;
}

/** The username of the admin that the first start makes. */
export const FIRST_ADMIN = 'admin';

/**
 * Makes the user `admin` in a database without users; does nothing if there is a user. The password is kept before the
 * user is made: a crash in between leaves an unused password, and not a user whose password nobody has.
 */
export async function ensureAdmin(ctx: VaultContext, initialPassword: InitialPassword): Promise<void> {
  if (await hasUsers(ctx.db)) return;
  const password = await initialPassword.keep(randomSecret(18));
  try {
    await addUser(ctx, systemCaller, { username: FIRST_ADMIN, role: 'admin', password });
  } catch (error) {
    // Another process made the user first. If both keep their password in the same place, the kept password is right.
    // If not, the password that this process keeps opens nothing.
    if (!(error instanceof AppError) || error.code !== 'conflict') throw error;
    if (!(await isOfAdmin(ctx, password))) await initialPassword.forget();
  }
}

/** Whether the database has users. A new database has none. */
export async function hasUsers(db: Queryable): Promise<boolean> {
  return (await countUsers(db)) > 0;
}

async function isOfAdmin(ctx: VaultContext, password: string): Promise<boolean> {
  const admin = await findUser(ctx.db, FIRST_ADMIN);
  return verifyPassword(ctx, systemCaller, { hash: admin?.password_hash, password });
}
