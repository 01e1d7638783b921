import { MINUTE_MS } from '@cardea/contracts/durations';
import type { Queryable, Transaction } from '@cardea/storage/db';

// Failures to prove an identity, counted by subject. `throttle.ts` says what the subjects are and which of them count.

/** When failures lock a subject. */
interface Limit {
  /** The number of failures without a lock. */
  free: number;
  /** The length of the first lock. It doubles with each further failure. */
  firstLockMs: number;
  mostLockMs: number;
}

/** A place is an account at a network, or a session. An address is a network, with whatever accounts. */
export const limits = {
  place: { free: 5, firstLockMs: 5_000, mostLockMs: 15 * MINUTE_MS },
  address: { free: 50, firstLockMs: 5_000, mostLockMs: 15 * MINUTE_MS },
} satisfies Record<string, Limit>;

/** After this long without a failure, the count starts again. */
const FORGET_MS = 15 * MINUTE_MS;

/**
 * Counts an attempt, unless the subject is locked. `lockedUntil` is the expiry of a lock that exists already. `lockEnd`
 * is the expiry of the lock that this attempt sets. 0 means no lock.
 */
export async function countOne(
  tx: Transaction,
  subject: string,
  limit: Limit,
  now: number,
): Promise<{ lockedUntil: number; lockEnd: number }> {
  let row = await findCount(tx, subject);
  if (row && row.last_at > now) {
    await bringToPresent(tx, subject, now);
    row = await findCount(tx, subject);
  }
  if (row && row.locked_until > now) return { lockedUntil: row.locked_until, lockEnd: 0 };
  const failures = row && !isForgotten(row, now) ? row.failures + 1 : 1;
  const lockEnd = lockEndAfter(failures, limit, now);
  await tx.query(
    `insert into sign_in_failure (subject, failures, last_at, locked_until)
     values ($1, $2, $3, $4)
     on conflict (subject) do update
        set failures = $2,
            last_at = $3,
            locked_until = $4`,
    [subject, failures, now, lockEnd],
  );
  return { lockedUntil: 0, lockEnd };
}

// 0 means no lock. `now` would look like a lock to an attempt that began a moment earlier and is counted later.
function lockEndAfter(failures: number, { free, firstLockMs, mostLockMs }: Limit, now: number): number {
  return failures <= free ? 0 : now + Math.min(mostLockMs, firstLockMs * 2 ** (failures - free - 1));
}

/** Counts a failure without a lock: strangers take turns instead. */
export async function countStranger(tx: Transaction, subject: string, now: number): Promise<void> {
  await bringToPresent(tx, subject, now);
  await tx.query(
    `insert into sign_in_failure (subject, failures, last_at, locked_until)
     values ($1, 1, $2, 0)
     on conflict (subject) do update
        set failures = case when sign_in_failure.last_at > $3 then sign_in_failure.failures + 1 else 1 end,
            last_at = $2`,
    [subject, now, now - FORGET_MS],
  );
}

/**
 * The clock was ahead when this was counted, and is right now. The lock would last until the clock gets there again, so
 * it begins now and is as long as it was.
 */
export async function bringToPresent(tx: Transaction, subject: string, now: number): Promise<void> {
  await tx.query(
    `update sign_in_failure
        set last_at = $2,
            locked_until = case when locked_until > last_at then $2 + locked_until - last_at else 0 end
      where subject = $1
        and last_at > $2`,
    [subject, now],
  );
}

/** Takes an attempt back, and the lock if it has set it. A lock that a concurrent attempt has set stays. */
export async function takeBack(db: Queryable, subject: string, lockEnd: number): Promise<void> {
  await db.query(
    `update sign_in_failure
        set failures = failures - 1,
            locked_until = case when locked_until = $2 then 0 else locked_until end
      where subject = $1
        and failures > 0`,
    [subject, lockEnd],
  );
}

/** Sets the end of the lock of a subject that has a count. */
export async function setLock(tx: Transaction, subject: string, lockedUntil: number): Promise<void> {
  await tx.query(`update sign_in_failure set locked_until = $2 where subject = $1`, [subject, lockedUntil]);
}

/** What is known of a subject. */
interface Count {
  failures: number;
  last_at: number;
  locked_until: number;
}

/** The count of a subject; undefined if it has none. */
export async function findCount(db: Queryable, subject: string): Promise<Count | undefined> {
  const [row] = await db.query<Count>(
    `select failures, last_at, locked_until from sign_in_failure where subject = $1`,
    [subject],
  );
  return row;
}

/** Whether a count is so old that the next failure starts a new one. */
export function isForgotten({ last_at: lastAt }: Pick<Count, 'last_at'>, now: number): boolean {
  return lastAt <= now - FORGET_MS;
}

/** The subjects from one on and before another, in the order of their names. */
export interface SubjectRange {
  from: string;
  to: string;
}

/** Whether a subject behind the first of a range is locked now. */
export async function isAnyLocked(db: Queryable, { from, to }: SubjectRange, now: number): Promise<boolean> {
  const rows = await db.query(
    `select subject
       from sign_in_failure
      where subject > $1
        and subject < $2
        and locked_until > $3
      limit 1`,
    [from, to, now],
  );
  return rows.length > 0;
}

/** Removes the count of a subject. */
export async function removeCount(tx: Transaction, subject: string): Promise<void> {
  await tx.query(`delete from sign_in_failure where subject = $1`, [subject]);
}

/** Removes the counts of a range. */
export async function removeCounts(tx: Transaction, { from, to }: SubjectRange): Promise<void> {
  await tx.query(
    `delete from sign_in_failure
      where subject >= $1
        and subject < $2`,
    [from, to],
  );
}

/** Removes at most `limit` counts that no longer count. Returns how many. */
export async function removeFailures(tx: Transaction, { now, limit }: { now: number; limit: number }): Promise<number> {
  const rows = await tx.query(
    `delete from sign_in_failure
      where subject in (select subject
                          from sign_in_failure
                         where last_at < $1
                           and locked_until < $2
                         order by last_at
                         limit $3)
     returning subject`,
    [now - FORGET_MS, now, limit],
  );
  return rows.length;
}
