import type { AuditResource } from '@cardea/contracts/audit-event';
import type { Queryable } from '@cardea/storage/db';
import { findVault } from '../vaults/vault-store.ts';

/** A vault in an audit record. The chain of the system's own DEKs has an id and no name. */
export async function vaultResource(db: Queryable, vaultId: string): Promise<AuditResource> {
  const vault = await findVault(db, vaultId);
  return vault ? { vault: vault.name, vaultId } : { vaultId };
}
