import type { Transaction } from '@cardea/storage/db';
import type { NameRange } from '../name-ranges.ts';
import type { SecretRow } from './secret-store.ts';

/** Secrets of a vault, those in the trash too, by name. */
export async function listSecretsIn(
  tx: Transaction,
  { vaultId, range, limit }: { vaultId: string; range: NameRange; limit: number },
): Promise<SecretRow[]> {
  return tx.query<SecretRow>(
    `select id, vault_id, name, current_version, max_versions, metadata, expires_at, due_at, announce_at,
            trashed_through, trashed_at, trashed_by, live, created_at, updated_at
       from secret
      where vault_id = $1
        and name >= $2
        and name < $3
      order by name
      limit $4`,
    [vaultId, range.from, range.to, limit],
  );
}

/** Gives a secret another place; its id stays, and all that hangs on it. @throws UniqueViolation if the name is taken */
export async function relocateSecret(
  tx: Transaction,
  { id, vaultId, name, updatedAt }: { id: string; vaultId: string; name: string; updatedAt: number },
): Promise<void> {
  await tx.query(`update secret set vault_id = $2, name = $3, updated_at = $4 where id = $1`, [
    id,
    vaultId,
    name,
    updatedAt,
  ]);
}
