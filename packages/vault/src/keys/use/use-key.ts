import type { AuditAction, FieldChange } from '@cardea/contracts/audit-actions';
import type { AuditResource } from '@cardea/contracts/audit-event';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { AppError } from '@cardea/contracts/errors';
import type { VaultAction } from '@cardea/contracts/grants';
import { pauseIfLong } from '@cardea/storage/long-work';
import { authorizeAll, principalOf } from '../../authorize.ts';
import type { KeyOperation, VaultContext } from '../../context.ts';
import { beginOpening } from '../../deks/opening.ts';
import { audited } from '../../record.ts';
import { keyResource } from '../key.ts';
import { findKeyInUse } from './key-in-use.ts';
import type { KeyInUse } from './key-in-use.ts';
import type { UsedKeyRef } from './use-rows.ts';

/** The items of a call: one, or a batch. */
export interface Items<Item> {
  items: Item[];
  isBatch: boolean;
}

/** What every result says beside what it is: the version of the key that was used, for the record. */
export interface UsedVersion {
  /** Undefined if no version was used: a signature that names none cannot hold. */
  keyVersion: number | undefined;
  /** The version that decrypted first, if the call decrypts and encrypts. */
  openedVersion?: number;
}

/** What a call does with a key. */
export interface KeyUse<Item, Result extends UsedVersion> {
  action: Exclude<AuditAction, FieldChange>;
  /** What is counted. */
  operation: KeyOperation;
  rights: [VaultAction, ...VaultAction[]];
  /** @throws AppError if the item is refused */
  work(key: KeyInUse, item: Item): Promise<Result>;
}

/**
 * Does something with a key, for one item or for each of a batch. All results are there before the one record is written,
 * which has their number, and how many were made by each version. An item that is refused does not stop the others; the
 * refusal of a single one is thrown.
 * @throws AppError `not_found`, `access_denied`, `sealed`, `unavailable`; IntegrityError
 */
export async function useKey<Item, Result extends UsedVersion>(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  { action, operation, rights, work }: KeyUse<Item, Result>,
  { items, isBatch }: Items<Item>,
): Promise<Audited<(Result | AppError)[]>> {
  const allowed = await authorizeAll(ctx, caller, rights, ref);
  const { vault, rule } = allowed;
  if (!ctx.keyUses.hasRoom(principalOf(caller))) await ctx.keyUses.flush();
  const opening = beginOpening(ctx, caller);
  const key = await findKeyInUse(ctx, caller, { vault, name: ref.name, opening, found: ref.found?.newest });
  const results: (Result | AppError)[] = [];
  for (const item of items) {
    await pauseIfLong(callerKey(caller));
    results.push(await outcomeOf(() => work(key, item), isBatch));
  }
  // Batches, slow work and the key service take time, in which a version may be disabled.
  if (isBatch || key.wasSlow() || opening.hasWaited()) await refuseDisabled(key, results, isBatch);
  const facts = { action, rule, resource: { ...countsOf(results, isBatch), ...keyResource(vault, ref) } };
  const shown = await audited(ctx, caller, [allowed], { ...facts, ...decisionOf(results) }, () => results);
  noteUses(ctx, caller, { keyId: key.id, operation }, results);
  return shown;
}

// After the record: without one, nobody has seen a result.
function noteUses(
  ctx: VaultContext,
  caller: Caller,
  { keyId, operation }: { keyId: string; operation: KeyOperation },
  results: (UsedVersion | AppError)[],
): void {
  const common = { keyId, at: ctx.now().getTime(), by: principalOf(caller), count: 1 };
  for (const result of results) {
    if (result instanceof AppError) continue;
    const { keyVersion, openedVersion } = result;
    if (keyVersion !== undefined) ctx.keyUses.note({ ...common, version: keyVersion, operation });
    if (openedVersion !== undefined) ctx.keyUses.note({ ...common, version: openedVersion, operation: 'decrypt' });
  }
}

// What a caller may see is the refusal of an item. Anything else is wrong with all of them.
async function outcomeOf<Result>(work: () => Promise<Result>, isBatch: boolean): Promise<Result | AppError> {
  try {
    return await work();
  } catch (error) {
    if (isBatch && error instanceof AppError && refusals.has(error.code)) return error;
    throw error;
  }
}

const refusals: ReadonlySet<string> = new Set(['invalid_request', 'not_found', 'conflict', 'gone', 'too_large']);

async function refuseDisabled(key: KeyInUse, results: (UsedVersion | AppError)[], isBatch: boolean): Promise<void> {
  const used = results.map((result) =>
    result instanceof AppError
      ? []
      : [result.keyVersion, result.openedVersion].filter((version) => version !== undefined),
  );
  for (const version of new Set(used.flat())) {
    if (await key.isEnabled(version)) continue;
    const message = `version ${version} was disabled meanwhile`;
    const refusal = new AppError('conflict', message, { rule: 'key-version-disabled' });
    if (!isBatch) throw refusal;
    for (const [index, versions] of used.entries()) if (versions.includes(version)) results[index] = refusal;
  }
}

function countsOf(results: (UsedVersion | AppError)[], isBatch: boolean): AuditResource {
  const used = results.flatMap((result) => (result instanceof AppError ? [] : (result.keyVersion ?? [])));
  if (!isBatch) return used.length === 1 ? { keyVersion: used[0]! } : {};
  const keyVersions: Record<string, number> = {};
  for (const version of used) keyVersions[version] = (keyVersions[version] ?? 0) + 1;
  const failed = results.filter((result) => result instanceof AppError).length;
  return { count: results.length, ...(failed > 0 ? { failed } : {}), keyVersions };
}

// A batch that was refused as a whole shows nothing.
function decisionOf(results: (object | AppError)[]): { decision: 'deny'; reason: string } | { decision: 'allow' } {
  const [first] = results;
  const allRefused = results.every((result) => result instanceof AppError);
  return allRefused && first instanceof AppError ? { decision: 'deny', reason: first.code } : { decision: 'allow' };
}
