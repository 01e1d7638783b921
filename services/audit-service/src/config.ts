import { join } from 'node:path';
import { Port, commonSettings, fullNeeds, readConfig, startProblem } from '@cardea/process/config';
import type { Rule } from '@cardea/process/config';
import { PostgresUrl, SecretFile, databaseRules, databaseVariables } from '@cardea/process/server-settings';
import type { PostgresServer } from '@cardea/storage/postgres-server';
import { z } from 'zod';
import { readSinksFile } from './sinks/sinks-file.ts';
import type { SinkSettings } from './sinks/sinks-file.ts';

/** The settings of audit-service. */
export interface AuditConfig {
  host: string;
  port: number;
  opsHost: string;
  opsPort: number;
  tlsDir: string;
  logLevel: string;
  /** The folder of the signing key, last-signed.json and, in profile mini, the database. */
  folder: string;
  /** The name of the log, in every entry and checkpoint. Fixed once the log has entries. */
  origin: string;
  /** The path of a SQLite file (mini) or a PostgreSQL server (full), with the role that appends. */
  database: PostgresServer | string;
  /** The same database with a role that only reads, for lists and exports. Without it `database` does both. */
  readDatabase?: PostgresServer;
  allowFsyncOff: boolean;
  /** Where the entries go besides the database. */
  sinks: SinkSettings[];
}

const Origin = z
  .string()
  .regex(/^[!-*,-~]{1,256}$/, 'must be 1 to 256 printable ASCII characters without spaces or +')
  .default('cardea.local/audit');

const Settings = z.object({
  ...commonSettings,
  CARDEA_AUDIT_PORT: Port,
  CARDEA_AUDIT_ORIGIN: Origin,
  /** The sinks of the log, as JSON. Without it there are none. */
  CARDEA_AUDIT_SINKS_FILE: z.string().min(1).optional(),
  ...databaseVariables,
  CARDEA_READ_DATABASE_URL: PostgresUrl.optional(),
  CARDEA_READ_DATABASE_PASSWORD_FILE: SecretFile.optional(),
  /** For tests only: a PostgreSQL that does not wait for its disk loses commits in a power cut. */
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
});

const rules: Rule[] = [
  fullNeeds('CARDEA_DATABASE_URL', 'a PostgreSQL database that only audit-service uses'),
  databaseRules('DATABASE'),
  databaseRules('READ_DATABASE'),
  // Read again when everything is right. Here its problems come with those of the other settings.
  ({ CARDEA_AUDIT_SINKS_FILE: file }) => {
    const problem = file === undefined ? undefined : startProblem(() => readSinksFile(file));
    return problem === undefined ? [] : [problem];
  },
];

/** Reads the settings of audit-service. @throws StartError that names every wrong variable */
export function readAuditConfig(env: NodeJS.ProcessEnv): AuditConfig {
  const settings = readConfig(Settings, env, rules);
  const folder = join(settings.CARDEA_DATA_DIR, 'audit');
  return {
    host: settings.CARDEA_HOST,
    port: settings.CARDEA_AUDIT_PORT,
    opsHost: settings.CARDEA_OPS_HOST,
    opsPort: settings.CARDEA_OPS_PORT,
    tlsDir: settings.CARDEA_TLS_DIR,
    logLevel: settings.CARDEA_LOG_LEVEL,
    folder,
    origin: settings.CARDEA_AUDIT_ORIGIN,
    ...(settings.CARDEA_PROFILE === 'full' ? databasesOf(settings) : { database: join(folder, 'audit.db') }),
    allowFsyncOff: settings.CARDEA_TEST_ALLOW_FSYNC_OFF,
    sinks: settings.CARDEA_AUDIT_SINKS_FILE === undefined ? [] : readSinksFile(settings.CARDEA_AUDIT_SINKS_FILE),
  };
}

const NewLogSettings = z.object({
  CARDEA_DATA_DIR: commonSettings.CARDEA_DATA_DIR,
  CARDEA_AUDIT_ORIGIN: Origin,
});

/** Reads the settings of the command that begins a new log. @throws StartError that names every wrong variable */
export function readNewLogConfig(env: NodeJS.ProcessEnv): Pick<AuditConfig, 'folder' | 'origin'> {
  const settings = readConfig(NewLogSettings, env, []);
  return { folder: join(settings.CARDEA_DATA_DIR, 'audit'), origin: settings.CARDEA_AUDIT_ORIGIN };
}

/** What a command needs of a log that no audit-service has open, in profile mini. */
export type StoredLog = Pick<AuditConfig, 'folder' | 'origin' | 'allowFsyncOff'> & { database: string };

/** Reads the settings of a log on this disk. @throws StartError that names every wrong variable */
export function readStoredLog(env: NodeJS.ProcessEnv): StoredLog {
  const fields = { CARDEA_DATA_DIR: true, CARDEA_AUDIT_ORIGIN: true } as const;
  const { CARDEA_DATA_DIR, CARDEA_AUDIT_ORIGIN: origin } = readConfig(Settings.pick(fields), env);
  const folder = join(CARDEA_DATA_DIR, 'audit');
  return { folder, origin, database: join(folder, 'audit.db'), allowFsyncOff: false };
}

function databasesOf(settings: z.output<typeof Settings>): Pick<AuditConfig, 'database' | 'readDatabase'> {
  const { CARDEA_READ_DATABASE_URL: readUrl } = settings;
  const common = { ca: settings.CARDEA_DATABASE_CA_FILE, connections: settings.CARDEA_DATABASE_CONNECTIONS };
  const password = settings.CARDEA_DATABASE_PASSWORD_FILE;
  const database = { url: settings.CARDEA_DATABASE_URL!, password, ...common };
  if (readUrl === undefined) return { database };
  const readPassword = settings.CARDEA_READ_DATABASE_PASSWORD_FILE;
  return { database, readDatabase: { url: readUrl, password: readPassword, ...common } };
}
