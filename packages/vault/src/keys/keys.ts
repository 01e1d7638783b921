import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditFields } from '@cardea/contracts/audit-changes';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { authorize } from '../authorize.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import type { VaultContext } from '../context.ts';
import { fromCursor } from '../cursor.ts';
import type { ListId } from '../cursor.ts';
import { justAfter, nameRanges } from '../name-ranges.ts';
import { keyNotThere } from '../not-there.ts';
import { pageOf } from '../page.ts';
import type { Page, PageRequest } from '../page.ts';
import { beginOpening } from '../deks/opening.ts';
import { audited } from '../record.ts';
import { keyResource, toKey, toPublicHalf } from './key.ts';
import type { Key, KeyRef, KeyWithPublicHalf } from './key.ts';
import { openKeyMaterial } from './key-sealing.ts';
import { findKey, listKeyRows, updateKey } from './key-store.ts';
import type { KeyRow } from './key-store.ts';
import { lockUsableKey, publicOnly } from './usable-key.ts';
import { findKeyVersion } from './key-version-store.ts';

/** Keys of a vault that the caller may see, by name, after the name in `cursor`. */
export async function listKeys(
  ctx: VaultContext,
  caller: Caller,
  { vault: vaultName, limit, cursor }: { vault: string } & PageRequest,
): Promise<Audited<Page<Key>>> {
  const allowed = await authorize(ctx, caller, 'key.list', { vault: vaultName });
  const { vault, rule, keyPrefix } = allowed;
  const list: ListId = ['keys', vault.id];
  const [after] = fromCursor(list, cursor, ['']);
  const from = after === '' ? undefined : justAfter(after);
  const [range] = nameRanges({ prefix: keyPrefix, from });
  const rows = range ? await listKeyRows(ctx.db, { vaultId: vault.id, range, limit: limit + 1 }) : [];
  const page = pageOf(list, rows.map(toKey), limit, ({ name }) => [name]);
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, [allowed], { action: 'key.list', rule, resource }, () => page);
}

/** A key with the public half of its newest version. @throws AppError `not_found`, `access_denied`, `sealed` */
export async function readKey(ctx: VaultContext, caller: Caller, ref: KeyRef): Promise<Audited<KeyWithPublicHalf>> {
  const allowed = await authorize(ctx, caller, 'key.list', ref);
  const { vault, rule } = allowed;
  const key = await findKey(ctx.db, { vaultId: vault.id, name: ref.name });
  if (!key) throw keyNotThere();
  const { id: keyId, algorithm, exportable, derivation, current_version: version } = key;
  const newest = await findKeyVersion(ctx.db, { keyId, version });
  const id = { vault, name: ref.name, keyId, version, algorithm, exportable, derivation };
  const opening = beginOpening(ctx, caller);
  const material = newest?.ciphertext ? await openKeyMaterial(opening, id, newest.ciphertext) : undefined;
  const facts: EventFacts = { action: 'key.read', rule, resource: keyResource(vault, ref) };
  const publicHalf = toPublicHalf(id, material?.publicKey);
  return audited(ctx, caller, [allowed], facts, () => ({ ...toKey(key), publicHalf }));
}

/** The fields of a key that can be changed; undefined leaves a field as it is. */
export interface KeyChange {
  minEncryptVersion?: number | undefined;
  minDecryptVersion?: number | undefined;
  deletionProtection?: boolean | undefined;
  /** Null for no schedule. The period begins when it is set. */
  rotationPeriodSeconds?: number | null | undefined;
}

/**
 * Changes the given fields.
 * @throws AppError `not_found`, `access_denied`; `conflict` if they do not fit together, or the key was deleted
 */
export async function changeKey(
  ctx: VaultContext,
  caller: Caller,
  ref: KeyRef,
  change: KeyChange,
): Promise<Audited<Key>> {
  const allowed = await authorize(ctx, caller, 'key.manage', ref);
  const { vault, rule } = allowed;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const before = await lockUsableKey(tx, { vaultId: vault.id, name: ref.name });
    const now = ctx.now().getTime();
    if (typeof change.rotationPeriodSeconds === 'number' && before.public_only === 1) throw publicOnly();
    const after = changedKey(before, change, now);
    const { min_encrypt_version, min_decrypt_version, current_version } = after;
    if (min_decrypt_version > min_encrypt_version || min_encrypt_version > current_version) throw outOfBounds();
    const changes = changesBetween(fieldsOf(before), fieldsOf(after));
    const key = Object.keys(changes).length === 0 ? before : { ...after, updated_at: now };
    await updateKey(tx, key);
    const facts = { action: 'key.change', rule, resource: keyResource(vault, ref), changes } as const;
    return { value: toKey(key), facts };
  });
}

function changedKey(before: KeyRow, change: KeyChange, now: number): KeyRow {
  const { deletionProtection, rotationPeriodSeconds: seconds } = change;
  const period = typeof seconds === 'number' ? seconds * SECOND_MS : null;
  return {
    ...before,
    min_encrypt_version: change.minEncryptVersion ?? before.min_encrypt_version,
    min_decrypt_version: change.minDecryptVersion ?? before.min_decrypt_version,
    ...(deletionProtection === undefined ? {} : { deletion_protection: deletionProtection ? 1 : 0 }),
    ...(seconds === undefined ? {} : { rotation_period_ms: period, rotate_at: period === null ? null : now + period }),
  };
}

function fieldsOf(row: KeyRow): AuditFields {
  const { minEncryptVersion, minDecryptVersion, deletionProtection, rotationPeriodSeconds } = toKey(row);
  return { minEncryptVersion, minDecryptVersion, deletionProtection, rotationPeriodSeconds };
}

function outOfBounds(): AppError {
  const message = 'minDecryptVersion must be at most minEncryptVersion, and that at most the newest version';
  return new AppError('conflict', message, { rule: 'key-bounds' });
}
