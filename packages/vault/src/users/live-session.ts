import type { AuditActor } from '@cardea/contracts/audit-event';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable } from '@cardea/storage/db';
import { findSession } from './session-store.ts';
import type { SessionRow } from './session-store.ts';

/** The owner of a session, with their current role and state. @throws AppError `unauthenticated` if it has ended */
export async function callerOfSession(
  ctx: { db: Queryable; now(): Date },
  stranger: Caller,
  sessionId: string,
): Promise<Caller> {
  const session = await getLiveSession(ctx, sessionId);
  return {
    ...stranger,
    actor: actorOf(session),
    role: session.role,
    ...(session.password_state === 'chosen' ? {} : { mustChangePassword: true }),
  };
}

/** A session that has not ended, of a user who may act. @throws AppError `unauthenticated` */
export async function getLiveSession(ctx: { db: Queryable; now(): Date }, id: string): Promise<SessionRow> {
  const session = await findSession(ctx.db, id);
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
export function actorOf({ id: session, user_id: id, username: name }: SessionRow): AuditActor {
  return { id, name, session, type: 'user' };
}

function whyDead(session: SessionRow, now: number): AuditRule | undefined {
  if (session.ended_at !== null) return 'session-ended';
  if (session.expires_at <= now) return 'session-expired';
  if (session.disabled === 1) return 'user-disabled';
  return session.user_expires_at !== null && session.user_expires_at <= now ? 'user-expired' : undefined;
}
