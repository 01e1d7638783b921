import type { Db, OnCommitError } from './db.ts';
import { checkDurability } from './durability.ts';
import { migrate, readMigrations, requireMigrated } from './migrate.ts';
import { openPostgres } from './postgres.ts';
import type { PostgresServer } from './postgres-server.ts';
import { ownSqliteFile } from './sqlite-ownership.ts';
import { openSqlite } from './sqlite.ts';

export interface OpenOptions {
  /** A PostgreSQL server, or the path of a SQLite file. */
  target: PostgresServer | string;
  /** Folder of the migrations to apply. */
  migrations: URL;
  onCommitError: OnCommitError;
  /** For tests, whose server does without fsync to be fast. */
  allowFsyncOff?: boolean;
}

/**
 * Opens a service's database: checks that its settings are durable, brings its schema up to date (or, if its role may
 * not make tables, checks that somebody has), and calls
 * `onCommitError` when a commit fails. No other process can open a SQLite file until this one closes it or ends.
 * @throws DbUnavailable, SchemaRefused
 */
export async function openDatabase(options: OpenOptions): Promise<Db> {
  const { target, onCommitError, allowFsyncOff = false } = options;
  const db =
    typeof target === 'string' ? await openOwnSqlite(target, onCommitError) : openPostgres(target, { onCommitError });
  try {
    await checkDurability(db, { allowFsyncOff });
    await bringUpToDate(db, options);
  } catch (error) {
    await db.close();
    throw error;
  }
  return db;
}

/** Migrates if the role of this connection may make tables. A role of a service may not, and only looks. */
async function bringUpToDate(db: Db, { target, migrations: folder }: OpenOptions): Promise<void> {
  const migrations = await readMigrations(folder, db.engine);
  if (typeof target === 'string') return void (await migrate(db, migrations));
  if (!(await mayMakeTables(db))) return await requireMigrated(db, migrations);
  const patient = openPostgres(target, { max: 1, answerWithinMs: 0 });
  try {
    await migrate(patient, migrations);
  } finally {
    await patient.close();
  }
}

async function mayMakeTables(db: Db): Promise<boolean> {
  const [row] = await db.query<{ may: number }>(`select has_schema_privilege(current_schema(), 'create') as may`);
  return row?.may === 1;
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
