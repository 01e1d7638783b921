import type { Transaction } from '@cardea/storage/db';

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
