import type { Role } from '@cardea/contracts/caller';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { PasswordState } from './user-store.ts';
import { principalLock } from '../locks.ts';

/** A session with the current state of its user. */
export interface SessionRow extends SessionState {
  ip: string;
  user_agent: string;
}

/** What decides whether the owner of a session may act, and as whom. */
export interface SessionState {
  id: string;
  user_id: string;
  expires_at: number;
  ended_at: number | null;
  username: string;
  role: Role;
  password_state: PasswordState;
  disabled: number;
  user_expires_at: number | null;
}

/** A session, even if it has ended. The caller must check whether the session or its user has expired. */
export async function findSession(db: Queryable, id: string): Promise<SessionRow | undefined> {
  const [row] = await db.query<SessionRow>(
    `select s.id, s.user_id, s.expires_at, s.ended_at, s.ip, s.user_agent,
            u.username, u.role, u.password_state, u.disabled, u.expires_at as user_expires_at
       from session s
       join app_user u on u.id = s.user_id
      where s.id = $1`,
    [id],
  );
  return row;
}

export interface ListedSession {
  id: string;
  created_at: number;
  expires_at: number;
  ip: string;
  user_agent: string;
}

/** Sorts after every id. */
const LAST_ID = 'z';

/** A user's live sessions that began before the session with the id `before` ('' for all of them), newest first. */
export async function listLiveSessions(
  db: Queryable,
  { userId, now, before, limit }: { userId: string; now: number; before: string; limit: number },
): Promise<ListedSession[]> {
  return db.query<ListedSession>(
    `select id, created_at, expires_at, ip, user_agent
       from session
      where user_id = $1
        and ended_at is null
        and expires_at > $2
        and id < $3
      order by id desc
      limit $4`,
    [userId, now, before === '' ? LAST_ID : before, limit],
  );
}

/** The addresses from which a user has begun the sessions that are kept. */
export async function listSignInAddresses(db: Queryable, userId: string): Promise<string[]> {
  const rows = await db.query<{ ip: string }>(`select distinct ip from session where user_id = $1`, [userId]);
  return rows.map(({ ip }) => ip);
}

export async function insertSession(
  tx: Transaction,
  session: { id: string; userId: string; createdAt: number; expiresAt: number; ip: string; userAgent: string },
): Promise<void> {
  await tx.query(
    `insert into session (id, user_id, created_at, expires_at, ended_at, ip, user_agent)
     values ($1, $2, $3, $4, null, $5, $6)`,
    [session.id, session.userId, session.createdAt, session.expiresAt, session.ip, session.userAgent],
  );
}

/** Returns false if the user has no such session, or if it has ended already. */
export async function endSession(
  tx: Transaction,
  { id, userId, endedAt }: { id: string; userId: string; endedAt: number },
): Promise<boolean> {
  await tx.lock(principalLock(`user:${userId}`));
  const rows = await tx.query(
    `update session
        set ended_at = $3
      where id = $1
        and user_id = $2
        and ended_at is null
     returning id`,
    [id, userId, endedAt],
  );
  return rows.length === 1;
}

/** Ends all sessions of a user except `except`. */
export async function endSessionsOf(
  tx: Transaction,
  { userId, except, endedAt }: { userId: string; except?: string | undefined; endedAt: number },
): Promise<void> {
  await tx.lock(principalLock(`user:${userId}`));
  await tx.query(
    `update session
        set ended_at = $3
      where user_id = $1
        and id <> $2
        and ended_at is null`,
    [userId, except ?? '', endedAt],
  );
}

/** Removes at most `limit` sessions that expired before `before`, with their refresh tokens. Returns how many. */
export async function removeExpiredSessions(
  tx: Transaction,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from session
      where id in (select id
                     from session
                    where expires_at < $1
                    order by expires_at
                    limit $2)
     returning id`,
    [before, limit],
  );
  return rows.length;
}

/** The same for sessions that were ended before `before`. */
export async function removeEndedSessions(
  tx: Transaction,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from session
      where id in (select id
                     from session
                    where ended_at < $1
                    order by ended_at
                    limit $2)
     returning id`,
    [before, limit],
  );
  return rows.length;
}

export interface RefreshTokenRow {
  session_id: string;
  used_at: number | null;
}

export async function findRefreshToken(db: Queryable, hash: Uint8Array): Promise<RefreshTokenRow | undefined> {
  const [row] = await db.query<RefreshTokenRow>(`select session_id, used_at from refresh_token where hash = $1`, [
    hash,
  ]);
  return row;
}

export async function insertRefreshToken(
  tx: Transaction,
  token: { hash: Uint8Array; sessionId: string; createdAt: number },
): Promise<void> {
  await tx.query(
    `insert into refresh_token (hash, session_id, created_at, used_at)
     values ($1, $2, $3, null)`,
    [token.hash, token.sessionId, token.createdAt],
  );
}

/** Uses up a refresh token; false if another request used it first. */
export async function useRefreshToken(tx: Transaction, hash: Uint8Array, usedAt: number): Promise<boolean> {
  const rows = await tx.query(
    `update refresh_token
        set used_at = $2
      where hash = $1
        and used_at is null
     returning session_id`,
    [hash, usedAt],
  );
  return rows.length === 1;
}
