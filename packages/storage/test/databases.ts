import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPostgres } from '../src/postgres.ts';
import { openSqlite } from '../src/sqlite.ts';
import { createDatabase, runSql } from './run-sql.ts';
import type { TestDatabase } from './db-conformance.ts';

export interface SqliteTestDatabase extends TestDatabase {
  path: string;
}

export interface PostgresTestDatabase extends TestDatabase {
  url: string;
}

export async function sqliteFile(): Promise<SqliteTestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'cardea-storage-'));
  const path = join(folder, 'test.db');
  return { path, open: () => openSqlite(path), remove: () => rm(folder, { recursive: true }) };
}

export async function postgresDatabase(): Promise<PostgresTestDatabase> {
  const server = process.env['CARDEA_TEST_POSTGRES_URL'];
  if (!server) throw new Error('CARDEA_TEST_POSTGRES_URL is not set: did jest run its globalSetup?');
  const { url, name } = await createDatabase(server);
  return {
    url,
    open: () => openPostgres(url, { max: 10 }),
    remove: () => runSql(server, `drop database ${name} with (force)`),
  };
}
