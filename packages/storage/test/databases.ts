import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { openPostgres } from '../src/postgres.ts';
import { openSqlite } from '../src/sqlite.ts';
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
  const name = `storage_${crypto.randomUUID().replaceAll('-', '')}`;
  await runSql(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    open: () => openPostgres(url.href, { max: 10 }),
    remove: () => runSql(server, `drop database ${name} with (force)`),
  };
}

/** Runs SQL on a new connection, without the adapter. */
export async function runSql(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
