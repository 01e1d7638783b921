import type { CommitError, Db } from '@cardea/storage/db';
import { checkDurability } from '@cardea/storage/durability';
import { openDatabase } from '@cardea/storage/open';
import { openPostgres } from '@cardea/storage/postgres';
import { grantAppendOnly } from './append-only.ts';
import type { AuditConfig } from './config.ts';

const migrations = new URL('../migrations/', import.meta.url);

/**
 * Opens the database of the log, migrates its schema and checks that its settings are durable. If another role owns the
 * tables, the role of the service gets only the rights to append. The log itself handles a failed commit.
 */
export async function openAuditDatabase(config: AuditConfig): Promise<Db> {
  const { database, migrationUrl, allowFsyncOff } = config;
  const options = { migrations, allowFsyncOff, onCommitError: rethrow };
  if (migrationUrl === undefined) return await openDatabase({ target: database, ...options });

  const owner = await openDatabase({ target: migrationUrl, ...options });
  try {
    await grantAppendOnly(owner, decodeURIComponent(new URL(database).username));
  } finally {
    await owner.close();
  }
  return await openAsAppender(database, allowFsyncOff);
}

async function openAsAppender(url: string, allowFsyncOff: boolean): Promise<Db> {
  const db = openPostgres(url);
  try {
    await checkDurability(db, { allowFsyncOff });
    return db;
  } catch (error) {
    await db.close();
    throw error;
  }
}

function rethrow(error: CommitError): never {
  throw error;
}
