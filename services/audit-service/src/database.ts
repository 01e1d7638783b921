import type { CommitError, Db } from '@cardea/storage/db';
import { openDatabase } from '@cardea/storage/open';
import { openPostgres } from '@cardea/storage/postgres';
import type { AuditConfig } from './config.ts';

const migrations = new URL('../migrations/', import.meta.url);

/** Whoever asks many questions at once waits for these, and no append does. */
const READING_CONNECTIONS = 5;

/** The connections to the database of the log. */
export interface AuditDatabases {
  /** Appends, and reads what the chain and the checkpoints need. */
  db: Db;
  /**
   * Reads for lists, proofs and exports, on connections of its own. The same as `db` for SQLite, which reads on another
   * connection than it writes on.
   */
  readDb: Db;
  close(): Promise<void>;
}

/**
 * Opens the database of the log, with its schema up to date, and checks that its settings are durable. The log itself
 * handles a failed commit.
 * @throws DbUnavailable, SchemaRefused
 */
export async function openAuditDatabases(
  config: Pick<AuditConfig, 'database' | 'readDatabase' | 'allowFsyncOff'>,
): Promise<AuditDatabases> {
  const { database, readDatabase, allowFsyncOff } = config;
  const db = await openDatabase({ target: database, migrations, allowFsyncOff, onCommitError: rethrow });
  if (typeof database === 'string') return { db, readDb: db, close: () => db.close() };
  const readDb = openPostgres(readDatabase ?? database, { max: READING_CONNECTIONS });
  const close = async () => void (await Promise.all([readDb.close(), db.close()]));
  try {
    await readDb.ping();
    return { db, readDb, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function rethrow(error: CommitError): never {
  throw error;
}
