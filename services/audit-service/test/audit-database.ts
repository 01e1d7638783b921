import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { migrate, readMigrations } from '@cardea/storage/migrate';
import { openPostgres } from '@cardea/storage/postgres';
import { openSqlite } from '@cardea/storage/sqlite';
import type { Db } from '@cardea/storage/db';

/** A new empty audit database, with a folder. */
export interface AuditDatabase {
  engine: Db['engine'];
  /** For the signing key and last-signed.json. */
  folder: string;
  /** Opens the database as another process would. */
  open(): Db;
  /** The URL of a PostgreSQL database, for another role. */
  url?: URL;
  remove(): Promise<void>;
}

export const engines = ['sqlite', 'postgres'] as const;

export async function auditDatabase(engine: Db['engine']): Promise<AuditDatabase> {
  const folder = mkdtempSync(join(tmpdir(), 'cardea-audit-'));
  const database = engine === 'sqlite' ? sqliteIn(folder) : await postgresWith(folder);
  const db = database.open();
  await migrate(db, await readMigrations(new URL('../migrations/', import.meta.url), engine));
  await db.close();
  return database;
}

/** Copies the files of a closed SQLite database. */
export function copySqlite(from: AuditDatabase, to: AuditDatabase): void {
  cpSync(sqlitePath(from.folder), sqlitePath(to.folder));
}

function sqliteIn(folder: string): AuditDatabase {
  return {
    engine: 'sqlite',
    folder,
    open: () => openSqlite(sqlitePath(folder)),
    remove: async () => rmSync(folder, { recursive: true }),
  };
}

function sqlitePath(folder: string): string {
  return join(folder, 'audit.db');
}

async function postgresWith(folder: string): Promise<AuditDatabase> {
  const server = process.env['CARDEA_TEST_POSTGRES_URL'];
  if (!server) throw new Error('CARDEA_TEST_POSTGRES_URL is not set: did jest run its globalSetup?');
  const name = `audit_${crypto.randomUUID().replaceAll('-', '')}`;
  await onServer(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    engine: 'postgres',
    folder,
    url,
    open: () => openPostgres(url.href, { max: 4 }),
    async remove() {
      await onServer(server, `drop database ${name} with (force)`);
      rmSync(folder, { recursive: true });
    },
  };
}

export async function onServer(url: string, sql: string): Promise<void> {
  const db = openPostgres(url, { max: 1 });
  try {
    await db.query(sql);
  } finally {
    await db.close();
  }
}
