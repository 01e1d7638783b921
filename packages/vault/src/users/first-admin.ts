import { AppError } from '@cardea/contracts/errors';
import { randomSecret } from '@cardea/crypto/ids';
import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { systemCaller } from '../system-caller.ts';
import { verifyPassword } from './sign-in.ts';
import { countUsers, findUser } from './user-store.ts';
import { addUser } from './users.ts';

/** Where the first password lies until it is changed. */
export interface InitialPassword {
  /** Keeps a password, unless one is kept already. Resolves to the one that is kept, once that is durable. */
  keep(password: string): Promise<string>;
  /** Keeps none any more. */
  forget(): Promise<void>;
}

const USERNAME = 'admin';

/**
 * Makes the user `admin` in a database without users. Its password is kept before the user exists, so that a crash
 * between the two leaves a password nobody needs rather than a user nobody can be. Does nothing where there is a user.
 */
export async function ensureAdmin(ctx: VaultContext, initialPassword: InitialPassword): Promise<void> {
  if (await hasUsers(ctx.db)) return;
  const password = await initialPassword.keep(randomSecret(18));
  try {
    await addUser(ctx, systemCaller, { username: USERNAME, role: 'admin', password });
  } catch (error) {
    // Another process that starts for the first time was faster. If it keeps its password in the same place, it is
    // this one; otherwise this one opens nothing.
    if (!(error instanceof AppError) || error.code !== 'conflict') throw error;
    if (!(await isOfAdmin(ctx, password))) await initialPassword.forget();
  }
}

/** False in a database that nobody has started with yet. */
export async function hasUsers(db: Queryable): Promise<boolean> {
  return (await countUsers(db)) > 0;
}

async function isOfAdmin(ctx: VaultContext, password: string): Promise<boolean> {
  const admin = await findUser(ctx.db, USERNAME);
  return verifyPassword(ctx, admin?.password_hash, password);
}
