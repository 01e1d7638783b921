import type { Queryable } from '@cardea/storage/db';
import type { RotationCounts, RotationRow } from './rotation-store.ts';
import { sumVaults } from './rotation-vault-store.ts';

/**
 * The rows of a rotation: of a DEK rotation that is open, the sum of its vaults. The total is an estimate: rows are
 * counted once, and others may be written or destroyed meanwhile. It is never less than what is done.
 */
export async function countsOf(db: Queryable, rotation: RotationRow): Promise<RotationCounts> {
  const isSummed = rotation.kind === 'dek' && rotation.finished_at === null;
  const { total, done, failed } = isSummed ? await sumVaults(db, rotation.id) : rotation;
  return { total: Math.max(total, done + failed), done, failed };
}
