import { CommitError } from './db.ts';
import type { Db } from './db.ts';
import { checkDurability } from './durability.ts';
import { migrate, readMigrations } from './migrate.ts';
import { openPostgres } from './postgres.ts';
import { ownSqliteFile } from './sqlite-ownership.ts';
import { openSqlite } from './sqlite.ts';

export interface OpenOptions {
  /** A PostgreSQL URL, or the path of a SQLite file. */
  target: string;
  /** Folder of the migrations to apply. */
  migrations: URL;
  /** Ends the process: whether a commit that failed is on disk can only be read from disk, by a fresh start (I5). */
  onCommitError(error: CommitError): never;
  /** For tests, whose server does without fsync to be fast. */
  allowFsyncOff?: boolean;
}

/**
 * Opens a service's database: durable settings checked, schema up to date, a failed commit fatal. A SQLite file is this
 * process's own until it ends. @throws DbUnavailable, SchemaRefused
 */
export async function openDatabase(options: OpenOptions): Promise<Db> {
  const { target, migrations, onCommitError, allowFsyncOff = false } = options;
  const db = /^postgres(ql)?:/.test(target) ? openPostgres(target) : await openOwnSqlite(target);
  try {
    await checkDurability(db, { allowFsyncOff });
    await migrate(db, await readMigrations(migrations, db.engine));
  } catch (error) {
    await db.close();
    throw error;
  }
  const refuse = (error: unknown): never => {
    if (error instanceof CommitError) onCommitError(error);
    throw error;
  };
  return {
    ...db,
    query: (sql, params) => db.query<never>(sql, params).catch(refuse),
    transaction: (work) => db.transaction(work).catch(refuse),
  };
}

async function openOwnSqlite(path: string): Promise<Db> {
  await ownSqliteFile(path);
  return openSqlite(path);
}
