import { setTimeout as sleep } from 'node:timers/promises';
import type { Caller } from '@cardea/contracts/caller';
import { seal, unseal } from '@cardea/contracts/seal-api';
import { refusalFacts } from '@cardea/contracts/refusal';
import type { Refusal } from '@cardea/contracts/refusal';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { atMost } from './at-most.ts';
import type { KekContext } from './context.ts';
import { eventOf } from './records.ts';

// How long a refusal waits for its record. A refusal releases nothing, so it need not wait for an audit log for ever.
const REFUSAL_WAITS_MS = 1_000;
// Longer than the log is probed at.
const ADMITTED_WITHIN_MS = 500;
const RETRY_MS = 25;

/**
 * Resolves once the audit log is not known to be away. The caller has asked the log itself, and this service may notice a
 * little later that a log is back.
 * @throws AppError `unavailable` if it stays away
 */
export async function untilAdmitted({ audit }: KekContext): Promise<void> {
  const giveUpAt = performance.now() + ADMITTED_WITHIN_MS;
  for (;;) {
    try {
      return audit?.admit();
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await sleep(RETRY_MS);
    }
  }
}

/**
 * Records that the keyring is about to be opened or closed, and by which seal. Resolves once the record is durable; the
 * caller acts only after that. audit-service needs no KEK, so it can answer while the system is sealed.
 * @throws AppError `unavailable`
 */
export async function recordSealChange(
  ctx: KekContext,
  caller: Caller,
  action: 'seal.open' | 'seal.prove' | 'seal.close',
  sealId?: string,
): Promise<void> {
  ctx.logger.warn(action, { requestId: caller.requestId, peer: caller.actor.id });
  const resource = sealId === undefined ? undefined : { name: sealId };
  await append(ctx, caller, { action, decision: 'allow', resource });
}

/**
 * Records a refusal. If the record of a refused DEK operation fails, the failure is logged and the refusal stands.
 * @throws AppError `unavailable` if the record of a refused unseal or seal fails
 */
export async function recordRefusal(ctx: KekContext, refusal: Refusal): Promise<void> {
  const { caller, action, error } = refusal;
  const { requestId } = caller;
  const facts = { requestId, peer: caller.actor.id, code: error.code, suspicious: error.suspicious, rule: error.rule };
  ctx.logger.warn('refused', facts);
  // `sealed` says nothing about the caller, and callers repeat their requests until the service is unsealed.
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
