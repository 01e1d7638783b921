import type { Transaction } from '@cardea/storage/db';

// The columns of a version say whether it is in the trash. A function that changes them must also update `live` and
// `trashed_at` of the secret.

/** Puts all versions of a secret into the trash. Versions that are there already stay as they are. */
export async function trashVersions(
  tx: Transaction,
  { secretId, at, by }: { secretId: string; at: number; by: string },
): Promise<void> {
  await tx.query(
    `update secret_version
        set deleted_at = $2,
            deleted_by = $3,
            restored_at = null
      where secret_id = $1
        and deleted_at is null`,
    [secretId, at, by],
  );
}

/**
 * Puts versions back into the trash: those up to `through` that were restored while a newer version was outside the
 * trash. Returns their numbers in order.
 */
export async function returnVersions(
  tx: Transaction,
  { secretId, through, at, by }: { secretId: string; through: number; at: number; by: string },
): Promise<number[]> {
  const rows = await tx.query<{ version: number }>(
    `update secret_version
        set deleted_at = $3,
            deleted_by = $4,
            restored_at = null
      where secret_id = $1
        and version <= $2
        and deleted_at is null
        and restored_at is not null
     returning version`,
    [secretId, through, at, by],
  );
  return inOrder(rows);
}

/** Restores all versions of a secret; `restoredAt` marks them for `returnVersions`. Returns their numbers in order. */
export async function restoreVersions(
  tx: Transaction,
  { secretId, restoredAt }: { secretId: string; restoredAt: number | null },
): Promise<number[]> {
  const rows = await tx.query<{ version: number }>(
    `update secret_version
        set deleted_at = null,
            deleted_by = null,
            restored_at = $2
      where secret_id = $1
        and deleted_at is not null
     returning version`,
    [secretId, restoredAt],
  );
  return inOrder(rows);
}

function inOrder(rows: { version: number }[]): number[] {
  return rows.map(({ version }) => version).toSorted((a, b) => a - b);
}
