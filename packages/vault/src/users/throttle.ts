import type { Caller } from '@cardea/contracts/caller';
import { clientNetwork } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import { sha256Hex } from '@cardea/crypto/ids';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { MINUTE_MS } from '@cardea/contracts/durations';

interface Limit {
  /** The number of failures without a lock. */
  free: number;
  /** The length of the first lock. It doubles with each further failure. */
  firstLockMs: number;
  mostLockMs: number;
}

const limits = {
  user: { free: 5, firstLockMs: 5_000, mostLockMs: 15 * MINUTE_MS },
  address: { free: 50, firstLockMs: 5_000, mostLockMs: 15 * MINUTE_MS },
  everybody: { free: 2_000, firstLockMs: 1_000, mostLockMs: 10_000 },
} satisfies Record<string, Limit>;

/** After this long without a failure, the count starts again. */
const FORGET_MS = 15 * MINUTE_MS;

/** The form of a name that is counted and looked up. HashiCorp Vault counted names as typed (CVE-2025-6004). */
export function normalizeUsername(username: string): string {
  return username.normalize('NFKC').trim().toLowerCase();
}

/** An attempt to prove an identity. */
export interface Attempt {
  caller: Caller;
  /** As it was typed. */
  username: string;
  /** The name of the account, if it exists: for the record of a refusal. */
  account: string | undefined;
}

/**
 * Lets `look` check a password or a code, unless there were too many failures for the name, for the address or in
 * total. A failure is an error `unauthenticated` or `access_denied` of `look`. Any other error, such as a full queue,
 * is not counted. If the check succeeds, `look` calls `forgetFailures` in its own transaction.
 *
 * For the name, an attempt is counted before the check, so that a hundred guesses at once count as a hundred. The typed
 * name is counted, so that a name that does not exist is treated like one that does. For the address and in total, only
 * failures are counted, after the check: a success writes no row that other attempts also write, and takes back only
 * its own failures. So concurrent guesses for many names can exceed these limits by as many as can wait for their hash.
 * While the audit log is known not to answer, nothing is checked and nothing is counted: a guess would leave no record.
 * @throws AppError `rate_limited`, `unavailable`; whatever `look` throws
 */
export async function throttled<T>(ctx: VaultContext, attempt: Attempt, look: () => Promise<T>): Promise<T> {
  ctx.audit.admit();
  await refuseLockedAddress(ctx, attempt);
  const counted = await countName(ctx, attempt);
  try {
    return await look();
  } catch (error) {
    if (isFailure(error)) await countFailure(ctx, attempt.caller);
    else await takeBack(ctx.db, counted);
    throw error;
  }
}

/** Deletes the failures of a name, because an admin unlocks it or its owner has signed in. */
export async function forgetFailures(tx: Transaction, username: string): Promise<void> {
  await tx.query(`delete from sign_in_failure where subject = $1`, [subjectOf(username)]);
}

/** Whether a name is locked now. */
export async function isLocked(db: Queryable, username: string, now: number): Promise<boolean> {
  const [row] = await db.query<{ locked_until: number }>(
    `select locked_until from sign_in_failure where subject = $1`,
    [subjectOf(username)],
  );
  return (row?.locked_until ?? 0) > now;
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

function isFailure(error: unknown): boolean {
  return error instanceof AppError && (error.code === 'unauthenticated' || error.code === 'access_denied');
}

async function refuseLockedAddress(ctx: VaultContext, attempt: Attempt): Promise<void> {
  const now = ctx.now().getTime();
  const subjects = [addressOf(attempt.caller), 'everybody'] as const;
  const find = () =>
    ctx.db.query<{ last_at: number; locked_until: number }>(
      `select last_at, locked_until
         from sign_in_failure
        where subject = $1
           or subject = $2`,
      [...subjects],
    );
  let rows = await find();
  if (rows.some((row) => row.last_at > now)) {
    await ctx.db.transaction(async (tx) => {
      for (const subject of subjects) await bringToPresent(tx, subject, now);
    });
    rows = await find();
  }
  refuseLocked(attempt, Math.max(0, ...rows.map((row) => row.locked_until)), now);
}

/**
 * The clock was ahead when this was counted, and is right now. The lock would last until the clock gets there again, so
 * it begins now and is as long as it was.
 */
async function bringToPresent(tx: Transaction, subject: string, now: number): Promise<void> {
  await tx.query(
    `update sign_in_failure
        set last_at = $2,
            locked_until = case when locked_until > last_at then $2 + locked_until - last_at else 0 end
      where subject = $1
        and last_at > $2`,
    [subject, now],
  );
}

async function countName(ctx: VaultContext, attempt: Attempt): Promise<{ subject: string; lockEnd: number }> {
  const now = ctx.now().getTime();
  const subject = subjectOf(attempt.username);
  const { lockedUntil, lockEnd } = await ctx.db.transaction((tx) => countOne(tx, subject, limits.user, now));
  refuseLocked(attempt, lockedUntil, now);
  return { subject, lockEnd };
}

function refuseLocked({ account }: Attempt, lockedUntil: number, now: number): void {
  if (lockedUntil <= now) return;
  throw new AppError('rate_limited', 'too many failed sign-ins: wait, or ask an admin to unlock', {
    rule: 'sign-in-throttle',
    retryAfterSeconds: Math.ceil((lockedUntil - now) / 1000),
    ...(account === undefined ? {} : { resource: { user: account } }),
  });
}

async function countFailure(ctx: VaultContext, caller: Caller): Promise<void> {
  const now = ctx.now().getTime();
  await ctx.db.transaction(async (tx) => {
    await countOne(tx, addressOf(caller), limits.address, now);
    await countOne(tx, 'everybody', limits.everybody, now);
  });
}

// Takes the count back, and the lock if this attempt set it. A lock that a concurrent attempt has set stays.
async function takeBack(db: Queryable, { subject, lockEnd }: { subject: string; lockEnd: number }): Promise<void> {
  await db.query(
    `update sign_in_failure
        set failures = failures - 1,
            locked_until = case when locked_until = $2 then 0 else locked_until end
      where subject = $1
        and failures > 0`,
    [subject, lockEnd],
  );
}

/**
 * Counts an attempt, unless the subject is locked. `lockedUntil` is the expiry of a lock that exists already. `lockEnd`
 * is the expiry of the lock that this attempt sets. 0 means no lock.
 */
async function countOne(
  tx: Transaction,
  subject: string,
  limit: Limit,
  now: number,
): Promise<{ lockedUntil: number; lockEnd: number }> {
  const find = () =>
    tx.query<{ failures: number; last_at: number; locked_until: number }>(
      `select failures, last_at, locked_until from sign_in_failure where subject = $1`,
      [subject],
    );
  let [row] = await find();
  if (row && row.last_at > now) {
    await bringToPresent(tx, subject, now);
    [row] = await find();
  }
  if (row && row.locked_until > now) return { lockedUntil: row.locked_until, lockEnd: 0 };
  const failures = row && row.last_at > now - FORGET_MS ? row.failures + 1 : 1;
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

// People type passwords into the wrong field, so only a hash of the typed name is kept.
function subjectOf(username: string): string {
  return `user:${sha256Hex(normalizeUsername(username))}`;
}

function addressOf(caller: Caller): string {
  return `address:${clientNetwork(caller.source.ip ?? 'unknown')}`;
}
