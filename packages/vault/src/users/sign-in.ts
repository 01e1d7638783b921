import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { generateRefreshToken } from '@cardea/crypto/credential';
import { sha256, uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { requireUnsealed } from '../deks/system-sealing.ts';
import { changed } from '../record.ts';
import { SESSION_MS } from './live-session.ts';
import { hashPassword, verifyPassword } from './password-hashes.ts';
import { insertRefreshToken, insertSession } from './session-store.ts';
import { countCode, forgetCodes, forgetFailures, normalizeUsername, throttled } from './throttle.ts';
import type { Place } from './throttle.ts';
import { readSecondFactor, useSecondFactor } from './totp.ts';
import type { SecondFactor } from './totp.ts';
import { findUser, findUserById, replacePassword, useOneTimePassword } from './user-store.ts';
import type { UserRow } from './user-store.ts';

/** A new session, with its first refresh token. */
export interface SignedIn {
  userId: string;
  sessionId: string;
  refreshToken: string;
}

/**
 * Checks a password, and a code if TOTP is on, and begins a session. The answer and the work are the same whatever is
 * wrong. Only the audit log has the reason.
 * @throws AppError `unauthenticated`; `rate_limited` after too many failures; `sealed`; `unavailable` if too many wait, `rate_limited` if too many of the client's do
 */
export async function signIn(
  ctx: VaultContext,
  stranger: Caller,
  credentials: { username: string; password: string; otp?: string | undefined },
): Promise<Audited<SignedIn>> {
  const { username } = credentials;
  const user = await findUser(ctx.db, normalizeUsername(username));
  return throttled(ctx, { caller: stranger, username, account: user }, async (place) => {
    // Only a right password leads to a TOTP secret that must be opened. A 503 just for that would confirm the password.
    await requireUnsealed(ctx);
    const checked = await checkCredentials(ctx, stranger, user, credentials, place);
    return beginSession(ctx, stranger, { place, ...checked });
  });
}

async function checkCredentials(
  ctx: VaultContext,
  stranger: Caller,
  user: UserRow | undefined,
  { password, otp }: { password: string; otp?: string | undefined },
  place: Place,
): Promise<Omit<Begin, 'place'>> {
  const turn = place.isKnown ? 'first' : 'last';
  const isRight = await verifyPassword(ctx, stranger, { hash: user?.password_hash, password, turn });
  if (!user) throw wrong('no-such-user');
  if (!isRight) throw wrong('bad-password', user);
  refuseClosedAccount(user, ctx.now().getTime());
  // The answer must not say that the password is right.
  if (user.totp_enabled === 1 && otp !== undefined && !(await countCode(ctx, place)))
    throw wrong('sign-in-throttle', user);
  const factor = await readSecondFactor(ctx, user, otp);
  if (factor === 'missing' || factor === 'wrong') throw wrong(`otp-${factor}`, user);
  const rehashed = ctx.passwords.needsRehash(user.password_hash)
    ? await hashPassword(ctx, stranger, password)
    : undefined;
  return { user, factor, rehashed };
}

interface Begin {
  user: UserRow;
  place: Place;
  factor: SecondFactor;
  rehashed: string | undefined;
}

async function beginSession(ctx: VaultContext, stranger: Caller, begin: Begin): Promise<Audited<SignedIn>> {
  const { user, place, factor, rehashed } = begin;
  const caller: Caller = { ...stranger, actor: { id: user.id, type: 'user', name: user.username } };
  const refreshToken = generateRefreshToken();
  return changed(ctx, caller, async (tx) => {
    const createdAt = ctx.now().getTime();
    await refuseChangedAccount(tx, user, createdAt);
    await useUp(tx, user, factor);
    await forgetFailures(tx, place);
    if (factor !== 'none') await forgetCodes(tx, place);
    if (rehashed !== undefined) await rehash(tx, user, rehashed, createdAt);
    const sessionId = uuidv7(createdAt);
    const { ip = 'unknown', userAgent = '' } = stranger.source;
    await insertSession(tx, {
      id: sessionId,
      userId: user.id,
      createdAt,
      expiresAt: createdAt + SESSION_MS,
      ip,
      userAgent,
    });
    await insertRefreshToken(tx, { hash: sha256(refreshToken), sessionId, createdAt });
    return {
      value: { userId: user.id, sessionId, refreshToken },
      facts: {
        action: 'auth.login',
        rule: factor === 'none' ? 'password' : `password+${factor.kind}`,
        resource: { user: user.username },
      },
    };
  });
}

// During the check of the password, another request may have disabled the account or changed its password, and ended
// all its sessions. This new session must not begin then.
async function refuseChangedAccount(tx: Transaction, checked: UserRow, now: number): Promise<void> {
  const user = await findUserById(tx, checked.id);
  if (user?.password_hash !== checked.password_hash) throw wrong('password-changed', checked);
  refuseClosedAccount(user, now);
}

// A one-time password or a code is used up in the transaction that begins the session: of a hundred concurrent
// sign-ins, only one gets it.
async function useUp(tx: Transaction, user: UserRow, factor: SecondFactor): Promise<void> {
  if (user.password_state === 'one_time' && !(await useOneTimePassword(tx, user.id)))
    throw wrong('one-time-password-used', user);
  if (factor === 'none' || (await useSecondFactor(tx, user.id, factor))) return;
  // A used recovery code is deleted, so it is as unknown as any other wrong code.
  throw wrong(factor.kind === 'totp' ? 'otp-used' : 'recovery-code-unknown', user);
}

async function rehash(tx: Transaction, user: UserRow, to: string, updatedAt: number): Promise<void> {
  const state = user.password_state === 'one_time' ? 'one_time_used' : user.password_state;
  await replacePassword(tx, { id: user.id, from: user.password_hash, to, state, updatedAt });
}

function refuseClosedAccount(user: UserRow, now: number): void {
  if (user.disabled === 1) throw wrong('user-disabled', user);
  if (user.expires_at !== null && user.expires_at <= now) throw wrong('user-expired', user);
  if (user.password_state === 'one_time_used') throw wrong('one-time-password-used', user);
}

// The record names the stored account, but no actor, because the client has not proved who it is. A typed name that
// does not exist is in no record, because people type passwords into that field.
function wrong(rule: AuditRule, user?: UserRow): AppError {
  return new AppError('unauthenticated', 'the username, the password or the code is wrong', {
    rule,
    ...(user ? { resource: { user: user.username } } : {}),
  });
}
