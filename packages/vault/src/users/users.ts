import type { Audited } from '@cardea/contracts/audited';
import type { Caller, Role } from '@cardea/contracts/caller';
import { randomSecret, uuidv7 } from '@cardea/crypto/ids';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { countUsers, insertUser } from './user-store.ts';

/** Cardea itself, when it acts before anybody could ask it to. */
export const systemCaller: Caller = {
  actor: { id: 'cardea', type: 'service' },
  source: {},
  requestId: 'start',
};

/**
 * Makes the user `admin` in a database without users and hands its password to `keep` before the
 * user exists, so that a crash between the two leaves a password nobody needs rather than a user
 * nobody can be. Does nothing where there is a user.
 */
export async function ensureAdmin(ctx: VaultContext, keep: (password: string) => Promise<void>): Promise<void> {
  if ((await countUsers(ctx.db)) > 0) return;
  const password = randomSecret(18);
  await keep(password);
  await createUser(ctx, systemCaller, { username: 'admin', role: 'admin', password });
}

/** Makes a user. The caller's right to do so is the caller's business. */
export async function createUser(
  ctx: VaultContext,
  caller: Caller,
  { username, role, password }: { username: string; role: Role; password: string },
): Promise<Audited<{ id: string; username: string; role: Role }>> {
  const passwordHash = await ctx.passwords.hash(password);
  return changed(ctx, caller, async (tx) => {
    const createdAt = ctx.now().getTime();
    const id = uuidv7(createdAt);
    await insertUser(tx, { id, username, role, password_hash: passwordHash, created_at: createdAt });
    return { value: { id, username, role }, happening: { action: 'user.create', resource: { user: username } } };
  });
}
