/**
 * `node deploy/migrate.ts` brings both databases of profile full to the newest schema and grants the rights of the roles
 * that deploy/roles.sql has made. It runs once, before the services of a new version start: docs/roles.md.
 */
import { readFile } from 'node:fs/promises';
import { CHECK_SETTINGS, checkedArguments } from '@cardea/process/arguments';
import { StartError, readConfig } from '@cardea/process/config';
import type { Rule } from '@cardea/process/config';
import { createLogger } from '@cardea/process/logger';
import { runToEnd } from '@cardea/process/run';
import { PostgresUrl, databaseRules, databaseVariables } from '@cardea/process/server-settings';
import { untilThere } from '@cardea/process/until-there';
import { DbRefused, DbUnavailable, isAway } from '@cardea/storage/db';
import type { Db } from '@cardea/storage/db';
import { SchemaRefused } from '@cardea/storage/migrate';
import { openDatabase } from '@cardea/storage/open';
import type { PostgresServer } from '@cardea/storage/postgres-server';
import { splitStatements } from '@cardea/storage/statements';
import { z } from 'zod';

/** A database of profile full, and where its migrations and grants are. */
interface Migrated {
  server: PostgresServer;
  /** The folder of `migrations/` and `grants.pg.sql`. */
  source: URL;
  /** The roles that the grants speak of. */
  roles: string[];
}

/** The databases of profile full, with the role that owns their tables. */
export interface MigrateConfig {
  database: PostgresServer;
  auditDatabase: PostgresServer;
  allowFsyncOff: boolean;
}

const Settings = z.object({
  ...databaseVariables,
  CARDEA_DATABASE_URL: PostgresUrl,
  CARDEA_AUDIT_DATABASE_URL: PostgresUrl,
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
});

// One role owns the tables of both databases, so one password file serves both.
const rules: Rule[] = [databaseRules('DATABASE'), databaseRules('AUDIT_DATABASE', 'CARDEA_DATABASE_PASSWORD_FILE')];

/** Reads the settings of the migration. @throws StartError that names every wrong variable */
export function readMigrateConfig(env: NodeJS.ProcessEnv): MigrateConfig {
  const settings = readConfig(Settings, env, rules);
  const login = { password: settings.CARDEA_DATABASE_PASSWORD_FILE, ca: settings.CARDEA_DATABASE_CA_FILE };
  return {
    database: { url: settings.CARDEA_DATABASE_URL, ...login },
    auditDatabase: { url: settings.CARDEA_AUDIT_DATABASE_URL, ...login },
    allowFsyncOff: settings.CARDEA_TEST_ALLOW_FSYNC_OFF,
  };
}

/**
 * Brings both databases of profile full to the newest schema and gives the roles of the services their rights, as the
 * owner of the tables. Run again, it changes nothing.
 * @throws StartError if a role is missing; DbUnavailable, SchemaRefused
 */
export async function migrateAll({ database, auditDatabase, allowFsyncOff }: MigrateConfig): Promise<void> {
  const all: Migrated[] = [
    {
      server: database,
      source: new URL('../packages/vault/', import.meta.url),
      roles: ['cardea_api', 'cardea_worker'],
    },
    {
      server: auditDatabase,
      source: new URL('../services/audit-service/', import.meta.url),
      roles: ['cardea_audit_append', 'cardea_audit_read'],
    },
  ];
  for (const one of all) await migrateOne(one, allowFsyncOff);
}

async function migrateOne({ server, source, roles }: Migrated, allowFsyncOff: boolean): Promise<void> {
  const db = await openDatabase({
    target: server,
    migrations: new URL('migrations/', source),
    // The next run sees in the database whether it is there.
    onCommitError: (error) => {
      throw error;
    },
    allowFsyncOff,
  });
  try {
    await refuseMissingRoles(db, roles);
    const grants = await readFile(new URL('grants.pg.sql', source), 'utf8');
    await db.transaction(async (tx) => {
      for (const statement of splitStatements(grants, 'postgres')) await tx.query(statement);
    });
  } finally {
    await db.close();
  }
}

async function refuseMissingRoles(db: Db, roles: string[]): Promise<void> {
  for (const role of roles) {
    const found = await db.query('select 1 as found from pg_roles where rolname = $1', [role]);
    if (found.length === 0) throw new StartError(`The role ${role} does not exist: run deploy/roles.sql first.`);
  }
}

if (import.meta.main) {
  const waiting = { what: 'PostgreSQL', isAway, logger: createLogger('migrate', 'info') };
  const usage = `usage: node deploy/migrate.ts [--${CHECK_SETTINGS}]
Brings both databases of profile full to the newest schema: docs/roles.md.`;
  const migrate = async () => {
    const { said } = checkedArguments(process.argv.slice(2), { usage, options: { [CHECK_SETTINGS]: 'flag' } });
    const config = readMigrateConfig(process.env);
    if (!(CHECK_SETTINGS in said)) await migrateAll(config);
  };
  await runToEnd(() => untilThere(waiting, migrate), {
    cannotStart: [SchemaRefused, DbRefused],
    away: [DbUnavailable],
  });
}
