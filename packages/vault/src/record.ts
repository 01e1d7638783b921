import type { AuditEvent } from '@cardea/contracts/audit-event';
import { Audited } from '@cardea/contracts/audited';
import type { AuditRoom, Receipt } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { toAuditEvent } from '@cardea/contracts/to-audit-event';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Locks, Transaction } from '@cardea/storage/db';
import type { VaultContext } from './context.ts';
import { addToOutbox } from './outbox.ts';

/** The facts of one or more events. The receipt is for the first event. */
export type EventFactsList = [EventFacts, ...EventFacts[]];

/** The result of a change, and the facts that the audit log must record. */
export interface ChangeOutcome<T> {
  value: T;
  facts: EventFacts | EventFactsList;
}

/**
 * Records that something is shown while `work` prepares it, and returns it once both are done.
 * @throws AppError `unavailable` before the work begins if the log is known not to answer, or after it if the log does
 * not take the record; whatever `work` throws
 */
export async function audited<T>(
  ctx: VaultContext,
  caller: Caller,
  facts: EventFacts | EventFactsList,
  work: () => T | Promise<T>,
): Promise<Audited<T>> {
  ctx.audit.admit();
  const events = eventsOf(ctx, caller, facts);
  // Room for all: if one record were refused for want of room, the others would say that something was shown.
  const room = await ctx.audit.reserve?.(events.length);
  try {
    // The work starts before the records: work that throws at once has shown nothing, so nothing is recorded.
    const prepared = work();
    const [shown, receipt] = await Promise.all([prepared, ...events.map((event) => ctx.audit.append(event, room))]);
    return new Audited(receipt!, shown);
  } finally {
    room?.release();
  }
}

/**
 * Changes the database and writes what happened into the outbox, in one transaction: a serializable one, or with `locks`
 * a `lockingTransaction`. Resolves once the audit log has the records too. If the log does not answer, the change stands
 * and the relay sends its records later.
 * @throws AppError `unavailable` before anything is changed, or after the change: then the message says so
 */
export async function changed<T>(
  ctx: VaultContext,
  caller: Caller,
  work: (tx: Transaction) => Promise<ChangeOutcome<T>>,
  locks?: Locks,
): Promise<Audited<T>> {
  ctx.audit.admit();
  let room: AuditRoom | undefined;
  const recorded = async (tx: Transaction) => {
    const { value, facts } = await work(tx);
    const events = eventsOf(ctx, caller, facts);
    // Before the commit, which promises a record. A transaction that is tried again has other events.
    room?.release();
    room = await ctx.audit.reserve?.(events.length);
    await addToOutbox(tx, ctx.db.engine, events);
    return { value, events };
  };
  try {
    const { value, events } = await (locks ? ctx.db.lockingTransaction(locks, recorded) : ctx.db.transaction(recorded));
    const [receipt] = await Promise.all(events.map(async (event) => appendFromOutbox(ctx, event, room)));
    return new Audited(receipt!, value);
  } finally {
    room?.release();
  }
}

function eventsOf(ctx: VaultContext, caller: Caller, facts: EventFacts | EventFactsList): AuditEvent[] {
  return (Array.isArray(facts) ? facts : [facts]).map((one) => eventOf(ctx, caller, one));
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
