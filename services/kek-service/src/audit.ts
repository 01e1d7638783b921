import type { AuditAction } from '@cardea/contracts/audit-actions';
import type { Caller } from '@cardea/contracts/caller';
import { seal, unseal } from '@cardea/contracts/kek-api';
import { refusalFacts } from '@cardea/contracts/refusal';
import type { Refusal } from '@cardea/contracts/refusal';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { atMost } from './at-most.ts';
import type { KekContext } from './context.ts';
import { eventOf } from './records.ts';

// A refusal releases nothing, so it must not hang on an audit log that is away: it waits for its record this long.
const REFUSAL_WAITS_MS = 1_000;

/**
 * Records that the keyring is about to be opened or closed. Resolves once that is durable, and only then may it
 * take effect: audit-service needs no KEK, so waiting for it cannot keep a sealed system sealed for ever.
 * @throws AppError `unavailable`
 */
export async function recordSealChange(ctx: KekContext, caller: Caller, action: AuditAction): Promise<void> {
  ctx.logger.warn(action, { requestId: caller.requestId, peer: caller.actor.id });
  await append(ctx, caller, { action, decision: 'allow' });
}

/**
 * Records what was refused. For a refused unseal or seal @throws AppError `unavailable` if it cannot be recorded;
 * everything else is refused either way, and a record that failed is logged.
 */
export async function recordRefusal(ctx: KekContext, refusal: Refusal): Promise<void> {
  const { caller, action, error } = refusal;
  const { requestId } = caller;
  const facts = { requestId, peer: caller.actor.id, code: error.code, suspicious: error.suspicious, rule: error.rule };
  ctx.logger.warn('refused', facts);
  // Sealed says nothing about who asks, and those who ask ask again and again.
  if (error.code === 'sealed' || !ctx.audit) return;

  const recorded = append(ctx, caller, refusalFacts(refusal));
  if (action === unseal.action || action === seal.action) {
    await recorded;
    return;
  }
  const logged = recorded.catch((cause: unknown) => {
    ctx.logger.error('a refusal is not in the audit log', { ...facts, error: cause });
  });
  await atMost(REFUSAL_WAITS_MS, logged);
}

async function append(ctx: KekContext, caller: Caller, facts: EventFacts): Promise<void> {
  await ctx.audit?.append(eventOf(caller, facts, ctx.now()));
}
