import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { sha256Hex } from '@cardea/crypto/ids';
import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';

/**
 * Failed sign-ins are counted before the password is looked at, so that a hundred guesses at once are a hundred, and
 * by what was typed, so that a name that does not exist is treated like one that does.
 */
interface Limit {
  /** Failures that cost nothing. */
  free: number;
  /** The wait after the first one too many; doubles with each further one. */
  firstLockMs: number;
  mostLockMs: number;
}

const limits = {
  user: { free: 5, firstLockMs: 5_000, mostLockMs: 15 * 60_000 },
  address: { free: 50, firstLockMs: 5_000, mostLockMs: 15 * 60_000 },
  everybody: { free: 2_000, firstLockMs: 1_000, mostLockMs: 10_000 },
} satisfies Record<string, Limit>;

/** Without a failure for this long, the count begins anew. */
const FORGET_MS = 15 * 60_000;

/** The one form of a name that is counted and looked up. Vault counted names as typed (CVE-2025-6004). */
export function normalizeUsername(username: string): string {
  return username.normalize('NFKC').trim().toLowerCase();
}

/** @throws AppError `rate_limited` while the name, the address or everybody has failed too often */
export async function countAttempt(ctx: VaultContext, caller: Caller, username: string): Promise<void> {
  const now = ctx.now().getTime();
  const subjects: [string, Limit][] = [
    [subjectOf(username), limits.user],
    [addressOf(caller), limits.address],
    ['everybody', limits.everybody],
  ];
  const lockedUntil = await ctx.db.transaction(async (tx) => {
    let latest = 0;
    for (const [subject, limit] of subjects) latest = Math.max(latest, await countOne(tx, subject, limit, now));
    return latest;
  });
  if (lockedUntil <= now) return;
  const retryAfterSeconds = Math.ceil((lockedUntil - now) / 1000);
  throw new AppError('rate_limited', 'too many failed sign-ins: wait, or ask an admin to unlock', {
    rule: 'sign-in-throttle',
    retryAfterSeconds,
  });
}

/** Forgets the failures of a name: an admin says so, or its owner has signed in. */
export async function forgetFailures(tx: Transaction, username: string): Promise<void> {
  await tx.query(`delete from sign_in_failure where subject = $1`, [subjectOf(username)]);
}

/** Takes back what `countAttempt` counted: it was no failure. */
export async function uncountAttempt(tx: Transaction, caller: Caller, username: string): Promise<void> {
  await forgetFailures(tx, username);
  await tx.query(
    `update sign_in_failure
        set failures = failures - 1,
            locked_until = 0
      where (subject = $1 or subject = 'everybody')
        and failures > 0`,
    [addressOf(caller)],
  );
}

/** Whether a name is locked now. */
export async function isLocked(db: Queryable, username: string, now: number): Promise<boolean> {
  const [row] = await db.query<{ locked_until: number }>(
    `select locked_until from sign_in_failure where subject = $1`,
    [subjectOf(username)],
  );
  return (row?.locked_until ?? 0) > now;
}

export async function sweepFailures(db: Db, now: number): Promise<void> {
  await db.query(`delete from sign_in_failure where last_at < $1 and locked_until < $2`, [now - FORGET_MS, now]);
}

/** Until when the subject was locked before this attempt; the attempt counts only if it was not. */
async function countOne(tx: Transaction, subject: string, limit: Limit, now: number): Promise<number> {
  const [row] = await tx.query<{ failures: number; last_at: number; locked_until: number }>(
    `select failures, last_at, locked_until from sign_in_failure where subject = $1`,
    [subject],
  );
  if (row && row.locked_until > now) return row.locked_until;
  const failures = row && row.last_at > now - FORGET_MS ? row.failures + 1 : 1;
  await tx.query(
    `insert into sign_in_failure (subject, failures, last_at, locked_until)
     values ($1, $2, $3, $4)
     on conflict (subject) do update
        set failures = $2,
            last_at = $3,
            locked_until = $4`,
    [subject, failures, now, lockEnd(failures, limit, now)],
  );
  return 0;
}

// 0 for no lock: `now` would be one to an attempt that began a moment earlier and is counted a moment later.
function lockEnd(failures: number, { free, firstLockMs, mostLockMs }: Limit, now: number): number {
  return failures <= free ? 0 : now + Math.min(mostLockMs, firstLockMs * 2 ** (failures - free - 1));
}

// People type passwords into the wrong field, so what was typed is not kept.
function subjectOf(username: string): string {
  return `user:${sha256Hex(normalizeUsername(username))}`;
}

function addressOf(caller: Caller): string {
  return `address:${caller.source.ip ?? 'unknown'}`;
}
