import type { AuditEvent } from '@cardea/contracts/audit-event';
import { Audited } from '@cardea/contracts/audited';
import type { AuditRoom, Receipt } from '@cardea/contracts/audited';
import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { DbUnavailable, QueueFull } from '@cardea/storage/db';
import type { Locks, Transaction } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import type { VaultContext } from './context.ts';
import { principalOf } from './authorize.ts';
import { confirmGround, confirmRights, hasAccount } from './confirm-rights.ts';
import { principalLock } from './locks.ts';
import { addToOutbox } from './outbox.ts';
import { rightByRole } from './right.ts';
import type { Ground, Right } from './right.ts';

/** What a change relies on. */
export interface ChangeTerms {
  /** The rights that the caller was given. Without any, the change relies on the role of the caller. */
  rights?: readonly Right[];
  /**
   * How the account of the caller is held. The default is `shared`: it is confirmed, and nobody takes rights from it
   * meanwhile. `alone`: the change itself takes rights from it. `unchecked`: the caller has shown a secret just now.
   */
  account?: 'shared' | 'alone' | 'unchecked';
  /** The locks of a change of secrets. With them, it is a `lockingTransaction`; otherwise it is serializable. */
  vaultLocks?: Locks;
}

/** The facts of one or more events. The receipt is for the first event. */
export type EventFactsList = [EventFacts, ...EventFacts[]];

/** The result of a change, and the facts that the audit log must record. */
export interface ChangeOutcome<T> {
  value: T;
  facts: EventFacts | EventFactsList;
}

/** Makes work that answers later a mistake that does not compile. */
type WaitsForNothing<T> = T extends PromiseLike<unknown> ? never : unknown;

/**
 * Records that something is shown, and returns what `work` makes of it once the record is there. `work` waits for nothing,
 * because the rights were confirmed just before. If the log does not answer in time, it may have taken the records all the
 * same. It gets one that nothing was shown once it answers again.
 * `ground` is confirmed when there is room for the records, unless it was decided just now (I8).
 * @throws AppError `unavailable` before the work begins if the log is known not to answer, or after it if the log does
 * not take the record; whatever `work` throws
 */
export async function audited<T>(
  ctx: VaultContext,
  caller: Caller,
  ground: Ground,
  facts: EventFacts | EventFactsList,
  work: (() => T) & WaitsForNothing<T>,
): Promise<Audited<T>> {
  ctx.audit.admit();
  const events = eventsOf(ctx, caller, facts);
  // Room for all: if one record were refused for want of room, the others would say that something was shown.
  const room = await ctx.audit.reserve?.(events.length);
  try {
    await confirmGround(ctx, caller, ground);
    // The work starts before the records: work that throws at once has shown nothing, so nothing is recorded.
    const shown = work();
    const recorded = appendEach(caller, events, (event) => ctx.audit.append(event, room));
    return new Audited(await recorded.catch(withFailure(ctx, caller, facts)), shown);
  } finally {
    room?.release();
  }
}

// The log may have taken a record and not answered in time. What says that nothing was shown is in the outbox, until the
// log answers again; in memory, if the database does not answer either. An export has a record of the whole before those of
// its secrets, and one answer to it is enough.
function withFailure(ctx: VaultContext, caller: Caller, facts: EventFacts | EventFactsList) {
  return async (error: unknown): Promise<never> => {
    const all = Array.isArray(facts) ? facts : [facts];
    const reason = 'the log did not take every record: nothing was shown';
    const failed = all
      .filter(({ action }) => action === all[0]!.action)
      .map((one) => eventOf(ctx, caller, { ...one, decision: 'deny', rule: 'records-missing', reason }));
    try {
      await ctx.db.lockingTransaction({ by: callerKey(caller) }, (tx) => addToOutbox(tx, ctx.db.engine, failed));
    } catch (second) {
      throw bothOf(error, second, isAway(second) ? ctx.outbox.keep(failed) : 0);
    }
    throw error;
  };
}

function isAway(error: unknown): boolean {
  return error instanceof DbUnavailable || error instanceof QueueFull;
}

/** The first error, with both as its causes: an operator must see that the log and the database have failed. */
function bothOf(first: unknown, second: unknown, lost: number): Error {
  const message = `neither the log nor the outbox has taken the records, and memory had no room for ${lost} since the start`;
  const cause = new AggregateError([first, second], message);
  if (!(first instanceof AppError)) return cause;
  const { rule, retryAfterSeconds } = first;
  return new AppError(first.code, first.message, {
    cause,
    ...(rule === undefined ? {} : { rule }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/**
 * Changes the database and writes what happened into the outbox, in one transaction. The transaction confirms the rights
 * of the caller, and while it runs, nobody takes them away (I8). Resolves once the audit log has the records too. If the
 * log does not answer, the change stands and the relay sends its records later.
 * @throws AppError `unavailable` before anything is changed, or after the change: then the message says so
 */
export async function changed<T>(
  ctx: VaultContext,
  caller: Caller,
  work: (tx: Transaction) => Promise<ChangeOutcome<T>>,
  terms: ChangeTerms = {},
): Promise<Audited<T>> {
  ctx.audit.admit();
  const { account = 'shared', rights = [rightByRole(ctx, caller, 'signed-in')], vaultLocks } = terms;
  const isChecked = account !== 'unchecked' && hasAccount(caller);
  let room: AuditRoom | undefined;
  const recorded = async (tx: Transaction) => {
    const { value, facts } = await (isChecked ? withRights(ctx, tx, { caller, rights, work }) : work(tx));
    const events = eventsOf(ctx, caller, facts);
    // Before the commit, which promises a record. A transaction that is tried again has other events.
    room?.release();
    room = await ctx.audit.reserve?.(events.length);
    await addToOutbox(tx, ctx.db.engine, events);
    return { value, events };
  };
  try {
    const locks = { ...locksOf(caller, { isChecked, account, vaultLocks }), by: callerKey(caller) };
    const transaction = vaultLocks ? ctx.db.lockingTransaction(locks, recorded) : ctx.db.transaction(recorded, locks);
    const { value, events } = await transaction;
    const receipt = await appendEach(caller, events, (event) => appendFromOutbox(ctx, event, room));
    return new Audited(receipt, value);
  } finally {
    room?.release();
  }
}

// Both are sent at once. Without the rights, nobody learns what the work has found.
async function withRights<T>(
  ctx: VaultContext,
  tx: Transaction,
  { caller, rights, work }: { caller: Caller; rights: readonly Right[]; work: (tx: Transaction) => Promise<T> },
): Promise<T> {
  const [confirmed, done] = await Promise.allSettled([confirmRights(ctx, tx, caller, rights), work(tx)]);
  if (confirmed.status === 'rejected') throw confirmed.reason;
  if (done.status === 'rejected') throw done.reason;
  return done.value;
}

function locksOf(
  caller: Caller,
  {
    isChecked,
    account,
    vaultLocks = {},
  }: Required<Pick<ChangeTerms, 'account'>> & {
    isChecked: boolean;
    vaultLocks: Locks | undefined;
  },
): Locks {
  const own = isChecked ? [principalLock(principalOf(caller))] : [];
  const { shared = [], exclusive = [] } = vaultLocks;
  return account === 'alone'
    ? { shared, exclusive: [...exclusive, ...own] }
    : { shared: [...shared, ...own], exclusive };
}

function eventsOf(ctx: VaultContext, caller: Caller, facts: EventFacts | EventFactsList): AuditEvent[] {
  return (Array.isArray(facts) ? facts : [facts]).map((one) => eventOf(ctx, caller, one));
}

/** Appends all events, and lets others in between if there are many. Returns the receipt of the first. */
async function appendEach(
  caller: Caller,
  events: AuditEvent[],
  append: (event: AuditEvent) => Promise<Receipt>,
): Promise<Receipt> {
  const appended: Promise<Receipt>[] = [];
  for (const [index, event] of events.entries()) {
    if (index > 0) await pauseIfLong(callerKey(caller));
    const receipt = append(event);
    // It is awaited below, with all others. Until then its failure is nobody's.
    receipt.catch(() => undefined);
    appended.push(receipt);
  }
  const [first] = await Promise.all(appended);
  return first!;
}

// Each event is sent by itself: if the log takes some and then stops answering, only the others are sent again.
async function appendFromOutbox(ctx: VaultContext, event: AuditEvent, room: AuditRoom | undefined): Promise<Receipt> {
  try {
    const receipt = await ctx.audit.append(event, room);
    ctx.outbox.acknowledge(event.id);
    return receipt;
  } catch (cause) {
    if (!(cause instanceof AppError && cause.code === 'unavailable')) throw cause;
    throw new AppError(
      'unavailable',
      'the change is made, but its record waits until the audit log answers: repeat the call',
      {
        cause,
        rule: 'record-waits',
      },
    );
  }
}

/** The audit event of something that just happened. */
export function eventOf(ctx: Pick<VaultContext, 'now'>, caller: Caller, facts: EventFacts): AuditEvent {
  const at = ctx.now().getTime();
  return toAuditEvent(caller, facts, { id: uuidv7(at), at });
}
