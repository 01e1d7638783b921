import type { Transaction } from '@cardea/storage/db';

/**
 * Gives a secret another vault or name. Its id stays, and so do all rows that refer to it.
 * @throws UniqueViolation if the name is taken
 */
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
