import type { Role } from '@cardea/contracts/caller';
import type { Queryable, Transaction } from '@cardea/storage/db';

export interface SessionRow {
  id: string;
  user_id: string;
  username: string;
  role: Role;
}

/** A session that has neither ended nor expired, with its user as they are now. */
export async function findLiveSession(db: Queryable, id: string, now: number): Promise<SessionRow | undefined> {
  const [row] = await db.query<SessionRow>(
    `select s.id, s.user_id, u.username, u.role
       from session s
       join app_user u on u.id = s.user_id
      where s.id = $1
        and s.ended_at is null
        and s.expires_at > $2`,
    [id, now],
  );
  return row;
}

export async function insertSession(
  tx: Transaction,
  session: { id: string; userId: string; createdAt: number; expiresAt: number },
): Promise<void> {
  await tx.query(
    `insert into session (id, user_id, created_at, expires_at)
     values ($1, $2, $3, $4)`,
    [session.id, session.userId, session.createdAt, session.expiresAt],
  );
}

export async function endSession(tx: Transaction, id: string, endedAt: number): Promise<void> {
  await tx.query(
    `update session
        set ended_at = $2
      where id = $1
        and ended_at is null`,
    [id, endedAt],
  );
}

/** Deletes sessions that ended or expired before `before`. */
export async function deleteDeadSessions(db: Queryable, before: number): Promise<void> {
  await db.query(
    `delete from session
      where expires_at < $1
         or ended_at < $1`,
    [before],
  );
}
