import type { Db, OnCommitError } from './db.ts';
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
  onCommitError: OnCommitError;
  /** For tests, whose server does without fsync to be fast. */
  allowFsyncOff?: boolean;
}

/**
 * Opens a service's database: checks that its settings are durable, brings its schema up to date, and calls
 * `onCommitError` when a commit fails. No other process can open a SQLite file until this one closes it or ends.
 * @throws DbUnavailable, SchemaRefused
 */
export async function openDatabase(options: OpenOptions): Promise<Db> {
  const { target, migrations, onCommitError, allowFsyncOff = false } = options;
  const isPostgres = /^postgres(ql)?:/.test(target);
  const db = isPostgres ? openPostgres(target, { onCommitError }) : await openOwnSqlite(target, onCommitError);
  try {
    await checkDurability(db, { allowFsyncOff });
    await migrate(db, await readMigrations(migrations, db.engine));
  } catch (error) {
    await db.close();
    throw error;
  }
  return db;
}

async function openOwnSqlite(path: string, onCommitError: OnCommitError): Promise<Db> {
  const release = await ownSqliteFile(path);
  try {
    const db = openSqlite(path, { onCommitError });
    return { ...db, close: () => db.close().then(release) };
  } catch (error) {
    release();
    throw error;
  }
}
