import type { AuditActor } from '@cardea/contracts/audit-event';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable } from '@cardea/storage/db';
import { whyUserStopped } from '../stopped-accounts.ts';
import { findSession } from './session-store.ts';
import type { SessionRow, SessionState } from './session-store.ts';

export const SESSION_MS = 12 * HOUR_MS;

/** The clocks of two processes differ by less. */
const CLOCKS_DIFFER_MS_MAX = 5 * MINUTE_MS;

/** The owner of a session, with their current role and state. @throws AppError `unauthenticated` if it has ended */
export async function callerOfSession(
  ctx: { db: Queryable; now(): Date },
  stranger: Caller,
  sessionId: string,
): Promise<Caller> {
  return callerOfFoundSession(ctx, stranger, await findSession(ctx.db, sessionId));
}

/** Like `callerOfSession`, if the session was looked up already. @throws AppError `unauthenticated` if it has ended */
export function callerOfFoundSession(ctx: { now(): Date }, stranger: Caller, found: SessionState | undefined): Caller {
  const session = requireLive(ctx, found);
  return {
    ...stranger,
    actor: actorOf(session),
    role: session.role,
    ...(session.password_state === 'chosen' ? {} : { mustChangePassword: true }),
  };
}

/** A session that has not ended, of a user who may act. @throws AppError `unauthenticated` */
export async function getLiveSession(ctx: { db: Queryable; now(): Date }, id: string): Promise<SessionRow> {
  return requireLive(ctx, await findSession(ctx.db, id));
}

function requireLive<T extends SessionState>(ctx: { now(): Date }, session: T | undefined): T {
  if (!session) throw hasEnded('session-ended');
  const rule = whyDead(session, ctx.now().getTime());
  // A client with a token of an ended session has proved who it is, so the record names its user.
  if (rule !== undefined) throw hasEnded(rule, actorOf(session));
  return session;
}

function hasEnded(rule: AuditRule, actor?: AuditActor): AppError {
  return new AppError('unauthenticated', 'the session has ended', { rule, ...(actor ? { actor } : {}) });
}

/** The user of a session, as records name them. */
export function actorOf({ id: session, user_id: id, username: name }: SessionState): AuditActor {
  return { id, name, session, type: 'user' };
}

function whyDead(session: SessionState, now: number): AuditRule | undefined {
  if (session.ended_at !== null) return 'session-ended';
  // A session that would last longer than any began while the clock was ahead: it would outlive its time by as much.
  if (session.expires_at <= now || session.expires_at > now + SESSION_MS + CLOCKS_DIFFER_MS_MAX)
    return 'session-expired';
  return whyUserStopped({ disabled: session.disabled, expires_at: session.user_expires_at }, now);
}
