import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { PasswordQueueFull } from '@cardea/crypto/password';
import { uuidv7 } from '@cardea/crypto/ids';
import type { VaultContext } from '../context.ts';
import { changed } from '../record.ts';
import { deleteDeadSessions, endSession, findLiveSession, insertSession } from './session-store.ts';
import { findUser, updatePasswordHash } from './user-store.ts';
import type { UserRow } from './user-store.ts';

const SESSION_MS = 12 * 60 * 60_000;

export interface SignedIn {
  userId: string;
  sessionId: string;
}

/** Checks a password and begins a session. Whatever is wrong, the answer and the work are the same. @throws AppError `unauthenticated` */
export async function signIn(
  ctx: VaultContext,
  stranger: Caller,
  { username, password }: { username: string; password: string },
): Promise<Audited<SignedIn>> {
  const user = await findUser(ctx.db, normalizeUsername(username));
  const right = await verifyPassword(ctx, user, password);
  if (!user || !right) {
    throw new AppError('unauthenticated', 'the username or the password is wrong', {
      rule: user ? 'bad-password' : 'no-such-user',
    });
  }
  if (ctx.passwords.needsRehash(user.password_hash)) {
    await updatePasswordHash(ctx.db, user.id, await ctx.passwords.hash(password));
  }
  const caller: Caller = { ...stranger, actor: { id: user.id, type: 'user', name: user.username } };
  return changed(ctx, caller, async (tx) => {
    const createdAt = ctx.now().getTime();
    const sessionId = uuidv7(createdAt);
    await insertSession(tx, { id: sessionId, userId: user.id, createdAt, expiresAt: createdAt + SESSION_MS });
    return {
      value: { userId: user.id, sessionId },
      happening: { action: 'auth.login', rule: 'password', resource: { user: user.username } },
    };
  });
}

// Vault counted lockouts by the name as typed (CVE-2025-6004); there is one form of it here, from the edge on.
function normalizeUsername(username: string): string {
  return username.normalize('NFKC').trim().toLowerCase();
}

async function verifyPassword(ctx: VaultContext, user: UserRow | undefined, password: string): Promise<boolean> {
  try {
    return await ctx.passwords.verify(user?.password_hash, password);
  } catch (error) {
    if (!(error instanceof PasswordQueueFull)) throw error;
    throw new AppError('unavailable', 'too many sign-ins at once', { cause: error });
  }
}

/** Who a session belongs to, as they are now. @throws AppError `unauthenticated` if it has ended */
export async function callerOfSession(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  stranger: Caller,
  sessionId: string,
): Promise<Caller> {
  const session = await findLiveSession(ctx.db, sessionId, ctx.now().getTime());
  if (!session) throw new AppError('unauthenticated', 'the session has ended', { rule: 'session-ended' });
  return {
    ...stranger,
    actor: { id: session.user_id, type: 'user', name: session.username, session: session.id },
    role: session.role,
  };
}

/** Ends the caller's session for every process at once. */
export async function signOut(ctx: VaultContext, caller: Caller): Promise<Audited<undefined>> {
  const { session } = caller.actor;
  return changed(ctx, caller, async (tx) => {
    if (session !== undefined) await endSession(tx, session, ctx.now().getTime());
    return { value: undefined, happening: { action: 'auth.logout' } };
  });
}

/** Forgets sessions that can no longer be used. */
export async function sweepSessions(ctx: Pick<VaultContext, 'db' | 'now'>): Promise<void> {
  await deleteDeadSessions(ctx.db, ctx.now().getTime());
}
