import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import { keyNotThere } from '../not-there.ts';
import { lockKey } from './key-store.ts';
import type { KeyRow } from './key-store.ts';

/** A key that was not deleted, locked; see `lockKey`. @throws AppError `not_found`; `conflict` if it was deleted */
export async function lockUsableKey(tx: Transaction, ref: { vaultId: string; name: string }): Promise<KeyRow> {
  const key = await lockKey(tx, ref);
  if (!key) throw keyNotThere();
  refuseDeleted(key);
  return key;
}

/** The refusal of what needs the private or secret part of a key. */
export function publicOnly(): AppError {
  return new AppError('conflict', 'the key holds public keys only', { rule: 'key-public-only' });
}

/** @throws AppError `conflict` if the key was deleted: it does nothing until it is restored */
export function refuseDeleted({ delete_at: deleteAt }: Pick<KeyRow, 'delete_at'>): void {
  if (deleteAt === null) return;
  const message = `the key was deleted, and is destroyed at ${new Date(deleteAt).toISOString()} unless it is restored`;
  throw new AppError('conflict', message, { rule: 'key-deleted' });
}
