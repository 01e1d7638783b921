import { StartError } from '@cardea/process/config';
import type { Db } from '@cardea/storage/db';

/**
 * Gives the role of the service only the rights that it needs to append: to read, to insert, and to update the row of
 * the head. The owner of the tables calls this after the migrations. PostgreSQL only.
 * @throws StartError if the name has other characters than a-z, 0-9 and _, because a grant takes no parameters
 */
export async function grantAppendOnly(db: Db, role: string): Promise<void> {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(role)) {
    throw new StartError('The role of the audit database must be a name of a-z, 0-9 and _: choose another.');
  }
  await db.transaction(async (tx) => {
    await tx.query(`revoke all on audit_entry, audit_tile, audit_head, schema_migration from ${role}`);
    await tx.query(`grant select, insert on audit_entry, audit_tile to ${role}`);
    await tx.query(`grant select on audit_head, schema_migration to ${role}`);
    await tx.query(`grant update (size, chain) on audit_head to ${role}`);
  });
}
