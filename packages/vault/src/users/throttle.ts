import { callerKey } from '@cardea/contracts/caller-key';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller } from '@cardea/contracts/caller';
import { clientNetwork } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import { sha256Hex } from '@cardea/crypto/ids';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { SECOND_MS } from '@cardea/contracts/durations';
import { listSignInAddresses } from './session-store.ts';
import {
  bringToPresent,
  countOne,
  countStranger,
  findCount,
  isAnyLocked,
  isForgotten,
  limits,
  removeCount,
  removeCounts,
  setLock,
  takeBack,
} from './sign-in-failure-store.ts';
import type { SubjectRange } from './sign-in-failure-store.ts';

/** After so many failures of strangers with one account (NIST SP 800-63B section 3.2.2), strangers take turns. */
const STRANGERS_FREE = 100;
const TURN_MS = SECOND_MS;
const TURN_WAITS_MS_MAX = 10 * SECOND_MS;

/** The form of a name that is counted and looked up. HashiCorp Vault counted names as typed (CVE-2025-6004). */
export function normalizeUsername(username: string): string {
  return username.normalize('NFKC').trim().toLowerCase();
}

/** An attempt to prove an identity. */
export interface Attempt {
  caller: Caller;
  /** As it was typed. */
  username: string;
  /** The account, if it exists. The record of a refusal names it. */
  account: { id: string; username: string } | undefined;
}

/** Where an attempt counts: a session, or the account at one network. */
export interface Place {
  subject: string;
  /** The subject of codes of strangers, for the account as a whole. */
  codes: string;
  /** True for a session, and for a network from which the account has signed in before. */
  isKnown: boolean;
  /** Whose attempts they are. Those of one client wait for the database together, and keep nobody else waiting. */
  by: string;
}

/**
 * Lets `look` check a password or a code, unless the same client has failed too often. **A right password is not refused
 * for what others did**, so each counts in its own place:
 *
 * - a caller who has signed in: their session, and nothing else. Neither strangers nor a thief of another session can keep
 *   the owner from changing their password;
 * - a sign-in from a network from which the account has signed in before: the account at that network, and nothing else;
 * - a stranger to the account: the account at that network, and the network with whatever accounts. Once strangers have
 *   failed with one account too often, they take turns: one a second, and each waits for its own.
 *
 * All strangers together are slowed by the queue of passwords that are checked: known clients go first there.
 *
 * A failure is an error `unauthenticated` or `access_denied` of `look`. Any other error, such as a full queue, is not
 * counted. If the check succeeds, `look` calls `forgetFailures` in its own transaction.
 *
 * For the place, an attempt is counted before the check, so that a hundred guesses at once count as a hundred. The typed
 * name is counted, so that a name that does not exist is treated like one that does. For the network and for strangers,
 * only failures are counted, after the check: a success writes no row that other attempts also write. So concurrent
 * guesses can exceed these limits by as many as can wait for their hash.
 * While the audit log is known not to answer, nothing is checked and nothing is counted: a guess would leave no record.
 * @throws AppError `rate_limited`, `unavailable`; whatever `look` throws
 */
export async function throttled<T>(
  ctx: VaultContext,
  attempt: Attempt,
  look: (place: Place) => Promise<T>,
): Promise<T> {
  ctx.audit.admit();
  const place = await placeOf(ctx, attempt);
  if (!place.isKnown) await refuseLockedAddress(ctx, attempt);
  const lockEnd = await countAttempt(ctx, attempt, place);
  try {
    if (!place.isKnown) await takeTurn(ctx, attempt, place);
    return await look(place);
  } catch (error) {
    if (isFailure(error)) await countFailure(ctx, attempt, place);
    else await takeBack(ctx.db, place.subject, lockEnd);
    throw error;
  }
}

/**
 * Counts a code that comes with a right password, before it is checked. A stranger who has the password can try a million
 * codes from as many networks, so their codes count for the account as a whole: only somebody who knows the password can
 * keep others out in this way, and nobody out of a known place. Returns false if no code may be checked now.
 */
export async function countCode(ctx: VaultContext, { codes, isKnown, by }: Place): Promise<boolean> {
  if (isKnown) return true;
  const now = ctx.now().getTime();
  const { lockedUntil } = await ctx.db.transaction((tx) => countOne(tx, codes, limits.place, now), { by });
  return lockedUntil <= now;
}

/** Deletes the count of codes, because a stranger has given a right one. */
export async function forgetCodes(tx: Transaction, { codes, isKnown }: Place): Promise<void> {
  if (!isKnown) await removeCount(tx, codes);
}

/** Deletes the failures of a place, because its owner has proved who they are there. Others keep theirs. */
export async function forgetFailures(tx: Transaction, { subject }: Place): Promise<void> {
  await removeCount(tx, subject);
}

/** Deletes the failures with an account in every place, because an admin unlocks it. */
export async function forgetAllFailures(tx: Transaction, username: string): Promise<void> {
  await removeCounts(tx, rangeOf(username));
}

/** Whether an account is locked in any place now. */
export async function isLocked(db: Queryable, username: string, now: number): Promise<boolean> {
  return isAnyLocked(db, rangeOf(username), now);
}

function isFailure(error: unknown): boolean {
  return error instanceof AppError && (error.code === 'unauthenticated' || error.code === 'access_denied');
}

async function placeOf(ctx: VaultContext, { caller, username, account }: Attempt): Promise<Place> {
  const { actor, source } = caller;
  const subject = subjectOf(username);
  const codes = `${subject}@codes`;
  const by = callerKey(caller);
  if (actor.session !== undefined) return { subject: `${subject}@${actor.session}`, codes, isKnown: true, by };
  const network = clientNetwork(source.ip ?? 'unknown');
  // Also asked for a name that does not exist, so that it takes as long.
  const addresses = await listSignInAddresses(ctx.db, account?.id ?? '');
  const isKnown = addresses.some((ip) => clientNetwork(ip) === network);
  return { subject: `${subject}@${network}`, codes, isKnown, by };
}

async function refuseLockedAddress(ctx: VaultContext, attempt: Attempt): Promise<void> {
  const now = ctx.now().getTime();
  const subject = addressOf(attempt.caller);
  let row = await findCount(ctx.db, subject);
  if (row && row.last_at > now) {
    await ctx.db.transaction((tx) => bringToPresent(tx, subject, now), { by: callerKey(attempt.caller) });
    row = await findCount(ctx.db, subject);
  }
  refuseLocked(attempt, row?.locked_until ?? 0, now);
}

/** @returns the expiry of the lock that this attempt sets; 0 means no lock */
async function countAttempt(ctx: VaultContext, attempt: Attempt, { subject, by }: Place): Promise<number> {
  const now = ctx.now().getTime();
  const { lockedUntil, lockEnd } = await ctx.db.transaction((tx) => countOne(tx, subject, limits.place, now), { by });
  refuseLocked(attempt, lockedUntil, now);
  return lockEnd;
}

/**
 * Waits for a turn, if strangers have failed with this account too often. `locked_until` of their count is the end of the
 * last turn that was given, so all processes give turns from one queue.
 */
async function takeTurn(ctx: VaultContext, attempt: Attempt, { by }: Place): Promise<void> {
  const now = ctx.now().getTime();
  const subject = subjectOf(attempt.username);
  const row = await findCount(ctx.db, subject);
  if (!row || row.failures < STRANGERS_FREE || isForgotten(row, now)) return;
  const turn = await ctx.db.transaction(
    async (tx) => {
      await bringToPresent(tx, subject, now);
      const begins = Math.max(now, (await findCount(tx, subject))?.locked_until ?? 0);
      if (begins - now > TURN_WAITS_MS_MAX) return begins;
      await setLock(tx, subject, begins + TURN_MS);
      return begins;
    },
    { by },
  );
  if (turn - now > TURN_WAITS_MS_MAX) refuseLocked(attempt, turn, now);
  await sleep(turn - now);
}

function refuseLocked({ account }: Attempt, lockedUntil: number, now: number): void {
  if (lockedUntil <= now) return;
  throw new AppError('rate_limited', 'too many failed sign-ins: wait, or ask an admin to unlock', {
    rule: 'sign-in-throttle',
    retryAfterSeconds: Math.ceil((lockedUntil - now) / 1000),
    ...(account === undefined ? {} : { resource: { user: account.username } }),
  });
}

async function countFailure(ctx: VaultContext, { caller, username }: Attempt, { isKnown, by }: Place): Promise<void> {
  if (caller.actor.session !== undefined) return;
  const now = ctx.now().getTime();
  await ctx.db.transaction(
    async (tx) => {
      await countOne(tx, addressOf(caller), limits.address, now);
      if (!isKnown) await countStranger(tx, subjectOf(username), now);
    },
    { by },
  );
}

/** From the count of strangers up to, and without, what follows every place: `@` and what it is made of come before. */
function rangeOf(username: string): SubjectRange {
  const from = subjectOf(username);
  return { from, to: `${from}~` };
}

// People type passwords into the wrong field, so only a hash of the typed name is kept.
function subjectOf(username: string): string {
  return `user:${sha256Hex(normalizeUsername(username))}`;
}

function addressOf(caller: Caller): string {
  return `address:${clientNetwork(caller.source.ip ?? 'unknown')}`;
}
