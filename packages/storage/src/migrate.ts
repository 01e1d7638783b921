import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { DbUnavailable, UniqueViolation } from './db.ts';
import type { Db, Queryable, Transaction } from './db.ts';
import { splitStatements } from './statements.ts';

export interface Migration {
  /** Sorts by its number: `0001-init`. */
  name: string;
  /** PostgreSQL text, see `splitStatements`. */
  sql: string;
}

/**
 * Other code migrated the database: newer code, or a migration that has changed since. The message names the migration.
 */
export class SchemaRefused extends Error {
  override name = 'SchemaRefused';
}

// Any number that no other program on the same server uses: "cardea" in ASCII.
const ADVISORY_LOCK = 0x636172646561;

/**
 * Brings the database to the newest schema, with one transaction for each migration. Several processes may run this at
 * the same time: each migration is applied once, and every call returns when the schema is complete.
 * @throws SchemaRefused if an applied migration has changed since, or if the database was migrated by newer code
 */
export async function migrate(db: Db, migrations: Migration[]): Promise<{ applied: string[] }> {
  await createMigrationTable(db);
  refuseMismatch(await readApplied(db), migrations);
  const applied: string[] = [];
  for (const migration of migrations) {
    if (await applyOnce(db, migration)) applied.push(migration.name);
  }
  return { applied };
}

/**
 * Resolves if the database has every migration. For roles that may not change the schema.
 * @throws SchemaRefused if it has fewer or others, or if this role may not look, and says what to run
 */
export async function requireMigrated(db: Db, migrations: Migration[]): Promise<void> {
  const [row] = await db.query<{ may_read: number | null }>(
    `select has_table_privilege(to_regclass('schema_migration'), 'select') as may_read`,
  );
  if (row?.may_read === 0) {
    throw new SchemaRefused(
      'The role of this service has no rights to the tables of its database: run deploy/migrate.ts.',
    );
  }
  const applied = row?.may_read === 1 ? await readApplied(db) : [];
  refuseMismatch(applied, migrations);
  const missing = migrations.find(({ name }) => !applied.some((row) => row.name === name));
  if (!missing) return;
  throw new SchemaRefused(
    `The database is older than this version: it lacks migration ${missing.name}, and this role may not change it. Run deploy/migrate.ts as the owner of its tables, and start again.`,
  );
}

/**
 * Reads the migrations of a folder in the order of their numbers: `0001-init.sql` for both engines, `0002-x.pg.sql` and
 * `0002-x.sqlite.sql` for one. Ignores other files.
 * @throws Error if a number occurs twice
 */
export async function readMigrations(folder: URL | string, engine: Db['engine']): Promise<Migration[]> {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder;
  const found = (await readdir(path))
    .flatMap((file) => parseFileName(file, engine))
    .sort((a, b) => a.number - b.number);
  const twice = found.find(({ number }, index) => number === found[index + 1]?.number);
  if (twice) throw new Error(`two migrations have the number of ${twice.file}`);
  return await Promise.all(found.map(async ({ name, file }) => ({ name, sql: await readText(`${path}/${file}`) })));
}

async function createMigrationTable(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    await waitForOtherMigrators(tx, db.engine);
    await tx.query(`create table if not exists schema_migration (
      name text not null primary key,
      applied_at bigint not null,
      checksum text not null
    )`);
  });
}

interface AppliedRow {
  name: string;
  checksum: string;
}

async function readApplied(db: Queryable): Promise<AppliedRow[]> {
  return await db.query<AppliedRow>('select name, checksum from schema_migration order by name');
}

function refuseMismatch(applied: AppliedRow[], migrations: Migration[]): void {
  const known = new Map(migrations.map((migration, index) => [migration.name, { index, migration }]));
  for (const row of applied) {
    const ours = known.get(row.name);
    if (!ours)
      throw new SchemaRefused(
        `The database has migration ${row.name}, which this version does not know: start the newer version that made it.`,
      );
    refuseChanged(row, ours.migration);
  }
  const newest = Math.max(-1, ...applied.map((row) => known.get(row.name)?.index ?? -1));
  if (newest >= applied.length) {
    const missing = migrations.find(({ name }) => !applied.some((row) => row.name === name));
    throw new SchemaRefused(
      `Migration ${missing?.name} comes before ${migrations[newest]?.name}, which is already applied: give it a higher number.`,
    );
  }
}

function refuseChanged(row: AppliedRow, migration: Migration): void {
  if (row.checksum === checksum(migration)) return;
  throw new SchemaRefused(
    `Migration ${row.name} has changed since it was applied: start the version that the database belongs to.`,
  );
}

/** Resolves to false if another process was first. */
async function applyOnce(db: Db, migration: Migration): Promise<boolean> {
  if (await isApplied(db, migration)) return false;
  try {
    await db.transaction((tx) => apply(tx, db.engine, migration));
    return true;
  } catch (error) {
    // Either another migrator inserted the row first, or a statement of the migration violated a constraint.
    if (error instanceof UniqueViolation && (await isApplied(db, migration))) return false;
    if (error instanceof DbUnavailable) throw error;
    throw new Error(`migration ${migration.name} failed`, { cause: error });
  }
}

async function isApplied(db: Queryable, migration: Migration): Promise<boolean> {
  const [row] = await db.query<AppliedRow>('select name, checksum from schema_migration where name = $1', [
    migration.name,
  ]);
  if (row) refuseChanged(row, migration);
  return row !== undefined;
}

/** Inserts the row first: a second migrator fails on it before it changes anything. */
async function apply(tx: Transaction, engine: Db['engine'], migration: Migration): Promise<void> {
  await waitForOtherMigrators(tx, engine);
  await tx.query('insert into schema_migration (name, applied_at, checksum) values ($1, $2, $3)', [
    migration.name,
    Date.now(),
    checksum(migration),
  ]);
  for (const statement of splitStatements(migration.sql, engine)) await tx.query(statement);
}

/** Takes a lock on PostgreSQL. SQLite needs none: it has one writer. */
async function waitForOtherMigrators(tx: Transaction, engine: Db['engine']): Promise<void> {
  if (engine === 'sqlite') return;
  await tx.query('set local statement_timeout = 0');
  await tx.query('set local lock_timeout = 0');
  await tx.query('select pg_advisory_xact_lock($1) is null', [ADVISORY_LOCK]);
  // A statement that waits for the lock of a table makes all requests to the table wait behind it.
  await tx.query('set local lock_timeout to default');
}

/** Protects against mistakes, not attackers: anybody who can change a migration can change the code that reads it. */
function checksum(migration: Migration): string {
  const text = migration.sql.replaceAll('\r\n', '\n');
  return `crc32:${crc32(text).toString(16).padStart(8, '0')}:${text.length}`;
}

function parseFileName(file: string, engine: Db['engine']): { number: number; name: string; file: string }[] {
  const [, name, number, suffix] = /^((\d{4})-[a-z0-9-]+)(?:\.(pg|sqlite))?\.sql$/.exec(file) ?? [];
  if (name === undefined || (suffix !== undefined && suffix !== (engine === 'postgres' ? 'pg' : 'sqlite'))) return [];
  return [{ number: Number(number), name, file }];
}

async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8');
}
