import type { AuditEvent, AuditResource } from '@cardea/contracts/audit-event';
import { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { uuidv7 } from '@cardea/crypto/ids';
import type { Transaction } from '@cardea/storage/db';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import type { VaultContext } from './context.ts';
import { addToOutbox } from './outbox.ts';

/** What happened, to be completed with who, when and from where. */
export interface Happening {
  action: string;
  decision?: 'allow' | 'deny';
  reason?: string;
  resource?: AuditResource;
  rule?: string;
  ciphertextSha256?: string;
  dekVersion?: number;
  suspicious?: SuspiciousRule;
}

/** Records that something was shown, side by side with preparing it, and hands it out once both are done. */
export async function audited<T>(
  ctx: VaultContext,
  caller: Caller,
  happening: Happening,
  value: T | Promise<T>,
): Promise<Audited<T>> {
  const [receipt, shown] = await Promise.all([ctx.audit.append(eventOf(ctx, caller, happening)), value]);
  return new Audited(receipt, shown);
}

/**
 * Changes the database and writes what happened into the outbox, in one transaction; answers once
 * the audit log has it too. If the log does not answer the change stands, and the relay sends its record later.
 */
export async function changed<T>(
  ctx: VaultContext,
  caller: Caller,
  work: (tx: Transaction) => Promise<{ value: T; happening: Happening }>,
): Promise<Audited<T>> {
  ctx.audit.admit();
  const { value, event } = await ctx.db.transaction(async (tx) => {
    const done = await work(tx);
    const event = eventOf(ctx, caller, done.happening);
    await addToOutbox(tx, event);
    return { value: done.value, event };
  });
  const receipt = await ctx.audit.append(event);
  ctx.outbox.acknowledge(event.id);
  return new Audited(receipt, value);
}

/** The audit event of something that just happened. Text is cut to what an event may hold. */
export function eventOf(ctx: Pick<VaultContext, 'now'>, caller: Caller, happening: Happening): AuditEvent {
  const now = ctx.now();
  const { decision = 'allow', ...rest } = happening;
  return {
    id: uuidv7(now.getTime()),
    ts: toAuditTime(now),
    decision,
    actor: caller.actor,
    source: caller.source,
    requestId: caller.requestId,
    ...rest,
  };
}

/** Six decimals, as every time in the audit log; the clock gives three. */
export function toAuditTime(time: Date): string {
  return time.toISOString().replace('Z', '000Z');
}
