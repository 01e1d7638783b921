import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { SYSTEM_VAULT_ID } from '@cardea/contracts/kek-api';
import type { DekRef } from '@cardea/contracts/kek-api';
import { untilAdmitted } from './audit.ts';
import type { KekContext } from './context.ts';
import { eventOf } from './records.ts';

type Item = DekRef & { kekVersion: number };

/**
 * Releases DEKs that were unwrapped: counts them first, and records each once it is unwrapped. `unwrap` works without
 * an `await`, on the open keyring.
 * @throws AppError `rate_limited`, `sealed`, `unavailable`; whatever `unwrap` throws: then nothing is released
 */
export async function releaseUnwrapped<T>(ctx: KekContext, caller: Caller, items: Item[], unwrap: () => T): Promise<T> {
  // Told first: what cannot be unwrapped counts for no limit.
  ctx.seal.keyring();
  await untilAdmitted(ctx);
  ctx.unwrapLimit.take(caller.actor.id, items.length);
  const vaultIds = items.map(({ vaultId }) => vaultId).filter((id) => id !== SYSTEM_VAULT_ID);
  // The system's own keys are never frozen: an admin must be able to sign in and look into it.
  if (vaultIds.length > 0) await ctx.unwrapBudget.take(caller, vaultIds);
  const unwrapped = unwrap();
  await recordUnwraps(ctx, caller, items);
  if (ctx.seal.isSealed()) await refuseLate(ctx, caller);
  return unwrapped;
}

// One event for each DEK, however often a batch has it, so that they are found by their vault. The client sends them together, in one batch.
async function recordUnwraps(ctx: KekContext, caller: Caller, items: Item[]): Promise<void> {
  const now = ctx.now();
  const each = new Map(items.map((item) => [`${item.vaultId} ${item.dekVersion} ${item.kekVersion}`, item]));
  const events = [...each.values()].map(({ vaultId, dekVersion, kekVersion }) =>
    eventOf(caller, { action: 'dek.unwrap', decision: 'allow', dekVersion, kekVersion, resource: { vaultId } }, now),
  );
  await Promise.all(events.map(async (event) => ctx.audit?.append(event)));
}

// It was sealed while the record was written. The record says that the DEKs were released, so another one takes it back.
async function refuseLate(ctx: KekContext, caller: Caller): Promise<never> {
  const facts = { action: 'dek.unwrap', decision: 'deny', reason: 'sealed' } as const;
  await ctx.audit?.append(eventOf(caller, facts, ctx.now()));
  throw new AppError('sealed', 'the keyring was sealed just now');
}
