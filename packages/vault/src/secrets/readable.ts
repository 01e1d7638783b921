import { AppError } from '@cardea/contracts/errors';
import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { noVersionYet, secretNotThere } from '../not-there.ts';
import { dueAt } from './lifecycle/due.ts';
import { findReadable } from './version-store.ts';
import type { MissingVersion, ReadableRow } from './version-store.ts';

/** A version that has a value and can be read. */
export type FoundVersion = ReadableRow & { ciphertext: Uint8Array };

/**
 * A version that can be read. The caller's rights are checked elsewhere.
 * @throws AppError `not_found` if it does not exist or is in the trash; `gone` if it has expired or was destroyed
 */
export async function getReadable(
  ctx: Pick<VaultContext, 'now'>,
  db: Queryable,
  { vaultId, name, version = null }: { vaultId: string; name: string; version?: number | null | undefined },
): Promise<FoundVersion> {
  return requireReadable(ctx, await findReadable(db, { vaultId, name, version }));
}

/** @throws AppError as `getReadable` */
export function requireReadable(
  ctx: Pick<VaultContext, 'now'>,
  row: ReadableRow | MissingVersion | undefined,
): FoundVersion {
  if (!row || row.version === null || row.deleted_at !== null) throw notReadable(row);
  const due = dueAt(row.secret_expires_at, row.expires_at);
  if (due !== null && due <= ctx.now().getTime()) {
    throw new AppError('gone', `version ${row.version} has expired`, { rule: 'expired' });
  }
  if (!hasValue(row)) throw new AppError('gone', `version ${row.version} was destroyed`, { rule: 'destroyed' });
  return row;
}

function notReadable(row: ReadableRow | MissingVersion | undefined): AppError {
  if (row?.version === null && row.current_version === 0) return noVersionYet();
  return secretNotThere('no such secret, or no such version');
}

function hasValue(row: ReadableRow): row is FoundVersion {
  return row.ciphertext !== null;
}
