import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { sealFields } from '@cardea/contracts/seal-api';
import type { NewSeal, Seal, SealRequest } from '@cardea/contracts/seal-api';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import { confirmGround } from '../confirm-rights.ts';
import { authorizeSystem } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { audited } from '../record.ts';
import { noteWait } from '../right.ts';

// kek-service makes each change and records it, with the id of the seal, before it answers. The records made here say
// which admin asked for it.

/** The seals of the keyring, the oldest first. @throws AppError `access_denied` unless the caller is an admin */
export async function listSeals(ctx: VaultContext, caller: Caller): Promise<Audited<Seal[]>> {
  const right = authorizeSystem(ctx, caller, 'seal.manage');
  ctx.audit.admit();
  noteWait(caller);
  const seals = await ctx.seals.list();
  return audited(
    ctx,
    caller,
    [right],
    { action: 'seal.list', rule: right.rule, resource: { count: seals.length } },
    () => seals,
  );
}

/**
 * Adds a seal. Its shares, if it has any, are in this answer and in no other.
 * @throws AppError `access_denied` unless the caller is an admin; `conflict` for a second seal by a file; `sealed`,
 * `unavailable`
 */
export async function addSeal(ctx: VaultContext, caller: Caller, request: SealRequest): Promise<Audited<NewSeal>> {
  const right = authorizeSystem(ctx, caller, 'seal.manage');
  // A record that fails only after this would cost the shares.
  ctx.audit.admit();
  noteWait(caller);
  const made = await ctx.seals.add(uuidv7(ctx.now().getTime()), request);
  const changes = changesBetween({}, sealFields(made));
  const facts: EventFacts = {
    action: 'seal.add',
    rule: right.rule,
    reason: made.type,
    changes,
    resource: { name: made.id },
  };
  const added = await audited(ctx, caller, 'done', facts, () => made);
  // The key service may have taken its time. The seal stands; its shares are for an admin only.
  await confirmGround(ctx, caller, [right]);
  return added;
}

/**
 * Removes a seal.
 * @throws AppError `access_denied` unless the caller is an admin; `not_found`; `conflict` for the last seal, or if no
 * other one is known to open the keyring; `sealed`, `unavailable`
 */
export async function removeSeal(ctx: VaultContext, caller: Caller, id: string): Promise<Audited<undefined>> {
  const right = authorizeSystem(ctx, caller, 'seal.manage');
  ctx.audit.admit();
  noteWait(caller);
  const seal = (await ctx.seals.list()).find((one) => one.id === id);
  await confirmGround(ctx, caller, [right]);
  await ctx.seals.remove(id);
  const changes = changesBetween(seal ? sealFields(seal) : {}, {});
  return audited(
    ctx,
    caller,
    'done',
    { action: 'seal.remove', rule: right.rule, changes, resource: { name: id } },
    () => undefined,
  );
}

/**
 * Lets a service unwrap DEKs again that kek-service froze.
 * @throws AppError `access_denied` unless the caller is an admin; `conflict` if it is not frozen, or was unfrozen less
 * than an hour ago; `unavailable`
 */
export async function unfreezeUnwraps(
  ctx: VaultContext,
  caller: Caller,
  { peer, reason }: { peer: 'api-service' | 'worker'; reason: string },
): Promise<Audited<undefined>> {
  const right = authorizeSystem(ctx, caller, 'seal.manage');
  ctx.audit.admit();
  await ctx.seals.unfreeze(peer, reason);
  const changes = changesBetween({ frozen: true }, { frozen: false });
  const facts: EventFacts = { action: 'unwrap.unfreeze', rule: right.rule, reason, changes, resource: { name: peer } };
  return audited(ctx, caller, 'done', facts, () => undefined);
}
