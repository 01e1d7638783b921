import type { Queryable, Transaction } from '@cardea/storage/db';

// The marks on versions say what is in the trash. Who changes them also writes what the secret says of it: `live` and
// `trashed_at`.

/** Puts the versions of a secret into the trash that are not in it. */
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
 * Puts the versions up to `through` back into the trash that were restored while a newer one was outside it; answers
 * them in order.
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

/** Takes all versions of a secret out of the trash; `restoredAt` marks them for `returnVersions`. Answers them in order. */
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

/** Removes the versions of a secret that are in the trash; answers them in order. */
export async function removeTrashed(tx: Transaction, secretId: string): Promise<number[]> {
  const rows = await tx.query<{ version: number }>(
    `delete from secret_version
      where secret_id = $1
        and deleted_at is not null
     returning version`,
    [secretId],
  );
  return inOrder(rows);
}

function inOrder(rows: { version: number }[]): number[] {
  return rows.map(({ version }) => version).toSorted((a, b) => a - b);
}

/** Secrets with versions in the trash, none of which came there after `before`. */
export async function listTrashedBefore(
  db: Queryable,
  { before, limit }: { before: number; limit: number },
): Promise<{ id: string }[]> {
  return db.query<{ id: string }>(
    `select s.id
       from secret s
       join vault v on v.id = s.vault_id
      where s.trashed_at > 0
        and s.trashed_at <= $1
      order by s.trashed_at
      limit $2`,
    [before, limit],
  );
}
