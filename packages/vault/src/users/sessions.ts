import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { refreshSuccessor } from '@cardea/crypto/credential';
import { sha256 } from '@cardea/crypto/ids';
import type { JobRun } from '@cardea/jobs/queue';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { DAY_MS } from '@cardea/contracts/durations';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { audited, changed } from '../record.ts';
import type { ChangeOutcome } from '../record.ts';
import { removePages } from '../sweep.ts';
import { actorOf, getLiveSession } from './live-session.ts';
import {
  endSession,
  endSessionsOf,
  findRefreshToken,
  insertRefreshToken,
  listLiveSessions,
  removeEndedSessions,
  removeExpiredSessions,
  useRefreshToken,
} from './session-store.ts';
import type { ListedSession, SessionRow } from './session-store.ts';
import type { SignedIn } from './sign-in.ts';
import { removeFailures } from './sign-in-failure-store.ts';
import { ownUser } from './totp.ts';

/** For this long a client that lost the answer may repeat its request and gets the same successor. */
const GRACE_MS = 10_000;

/** Ended sessions are kept for this long: a client with a token of an ended session is late, and does not guess. */
const REMEMBERED_MS = 7 * DAY_MS;

/**
 * Uses up a refresh token and returns its successor (RFC 9700, 4.14.2). A token that was used before ends the session,
 * because either the token or its successor is in the wrong hands. The exception is the same client that repeats its
 * request within 10 s: it gets the same successor again, so no second chain of tokens begins.
 * @throws AppError `unauthenticated`
 */
export async function refreshSession(
  ctx: VaultContext,
  stranger: Caller,
  token: string,
  successorKey: Uint8Array,
): Promise<Audited<SignedIn>> {
  const hash = sha256(token);
  const row = await findRefreshToken(ctx.db, hash);
  if (!row) {
    throw new AppError('unauthenticated', 'the refresh token is not valid', {
      rule: 'refresh-unknown',
      suspicious: 'refresh_unknown',
    });
  }
  const session = await getLiveSession(ctx, row.session_id);
  const caller: Caller = { ...stranger, actor: actorOf(session) };
  const refreshToken = refreshSuccessor(successorKey, token);
  const signedIn = { userId: session.user_id, sessionId: session.id, refreshToken };
  const outcome = await changed(
    ctx,
    caller,
    (tx) => useOrRepeat(ctx, tx, { hash, session, stranger, refreshToken }),
    // The refresh token is what the caller has, and a token of an ended session is worth nothing.
    { account: 'unchecked' },
  );
  if (outcome.value === 'reused') {
    throw new AppError('unauthenticated', 'the refresh token was used before: the session has ended', {
      rule: 'refresh-reuse',
      suspicious: 'refresh_reuse',
      actor: caller.actor,
    });
  }
  return outcome.map(() => signedIn);
}

interface Use {
  hash: Uint8Array;
  session: SessionRow;
  stranger: Caller;
  refreshToken: string;
}

async function useOrRepeat(
  ctx: VaultContext,
  tx: Transaction,
  { hash, session, stranger, refreshToken }: Use,
): Promise<ChangeOutcome<'used' | 'repeated' | 'reused'>> {
  const now = ctx.now().getTime();
  const successor = sha256(refreshToken);
  if (await useRefreshToken(tx, hash, now)) {
    await insertRefreshToken(tx, { hash: successor, sessionId: session.id, createdAt: now });
    return { value: 'used', facts: { action: 'auth.refresh', rule: 'refresh-token' } };
  }
  const used = await findRefreshToken(tx, hash);
  const next = await findRefreshToken(tx, successor);
  const isRepeat = now - (used?.used_at ?? 0) <= GRACE_MS && next?.used_at === null && isSameClient(session, stranger);
  if (isRepeat) return { value: 'repeated', facts: { action: 'auth.refresh', rule: 'refresh-repeat' } };
  await endSession(tx, { id: session.id, userId: session.user_id, endedAt: now });
  const facts: EventFacts = { action: 'session.end', rule: 'refresh-reuse', suspicious: 'refresh_reuse' };
  return { value: 'reused', facts };
}

function isSameClient(session: SessionRow, { source }: Caller): boolean {
  return session.ip === (source.ip ?? 'unknown') && session.user_agent === (source.userAgent ?? '');
}

/** Ends the caller's session, at once in every process. @throws AppError `access_denied` for an application */
export async function signOut(ctx: VaultContext, caller: Caller): Promise<Audited<undefined>> {
  const { session, id: userId } = caller.actor;
  if (session === undefined) throw new AppError('access_denied', 'only users can do this', { rule: 'users-only' });
  return changed(
    ctx,
    caller,
    async (tx) => {
      await endSession(tx, { id: session, userId, endedAt: ctx.now().getTime() });
      return { value: undefined, facts: { action: 'auth.logout', rule: 'self' } };
    },
    { account: 'alone' },
  );
}

/** The caller's own live sessions, newest first. */
export async function listSessions(
  ctx: VaultContext,
  caller: Caller,
  { limit, cursor }: PageRequest,
): Promise<Audited<Page<ListedSession>>> {
  const { id: userId } = await ownUser(ctx, caller);
  const list: ListId = ['sessions', userId];
  const [before] = fromCursor(list, cursor, ['']);
  const rows = await listLiveSessions(ctx.db, { userId, now: ctx.now().getTime(), before, limit: limit + 1 });
  const page = pageOf(list, rows, limit, ({ id }) => [id]);
  return audited(
    ctx,
    caller,
    'signed-in',
    { action: 'session.list', rule: 'self', resource: { count: page.items.length } },
    () => page,
  );
}

/** Ends one of the caller's own sessions. @throws AppError `not_found` for a session of another user */
export async function endOwnSession(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<undefined>> {
  return changed(
    ctx,
    caller,
    async (tx) => {
      const ended = await endSession(tx, { id, userId: caller.actor.id, endedAt: ctx.now().getTime() });
      if (!ended) throw new AppError('not_found', 'no such session', { rule: 'no-such-session' });
      return { value: undefined, facts: { action: 'session.end', rule: 'self', resource: { name: id } } };
    },
    { account: 'alone' },
  );
}

/** Ends every session of a user except `except`. */
export async function endAllSessions(
  ctx: VaultContext,
  tx: Transaction,
  { userId, except }: { userId: string; except?: string | undefined },
): Promise<void> {
  await endSessionsOf(tx, { userId, except, endedAt: ctx.now().getTime() });
}

/** Deletes sessions that ended or expired a week ago, and failures that no longer count. */
export async function sweepSessions(ctx: Pick<VaultContext, 'db' | 'now'>, run: JobRun): Promise<void> {
  const now = ctx.now().getTime();
  const before = now - REMEMBERED_MS;
  await removePages(ctx, run, (tx, limit) => removeExpiredSessions(tx, { before, limit }));
  await removePages(ctx, run, (tx, limit) => removeEndedSessions(tx, { before, limit }));
  await removePages(ctx, run, (tx, limit) => removeFailures(tx, { now, limit }));
}
