import { StartError } from '@cardea/process/config';
import type { Db } from '@cardea/storage/db';

/**
 * Gives the role that the service runs as what appending takes, and nothing else: it may read and insert, and of the
 * head alone it may change the row. To be run by the owner of the tables, after the migrations. PostgreSQL only.
 * @throws StartError if the name is not a plain one, which a grant cannot take as a parameter
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
