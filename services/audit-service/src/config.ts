import { join } from 'node:path';
import { Port, StartError, commonSettings, readConfig } from '@cardea/process/config';
import { z } from 'zod';

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
  /** A file (mini) or a PostgreSQL URL (full). */
  database: string;
  /** The URL of the role that owns the tables. With it, the role of `database` may only append. */
  migrationUrl?: string;
  allowFsyncOff: boolean;
}

const PostgresUrl = z.url({ protocol: /^postgres(ql)?$/ });

const Settings = z.object({
  ...commonSettings,
  CARDEA_AUDIT_PORT: Port,
  CARDEA_AUDIT_ORIGIN: z
    .string()
    .regex(/^[!-*,-~]{1,256}$/, 'must be 1 to 256 printable ASCII characters without spaces or +')
    .default('cardea.local/audit'),
  CARDEA_DATABASE_URL: PostgresUrl.optional(),
  CARDEA_MIGRATION_DATABASE_URL: PostgresUrl.optional(),
  /** For tests only: a PostgreSQL that does not wait for its disk loses commits in a power cut. */
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
});

/** Reads the settings of audit-service. @throws StartError that names every wrong variable */
export function readAuditConfig(env: NodeJS.ProcessEnv): AuditConfig {
  const settings = readConfig(Settings, env);
  const { CARDEA_DATABASE_URL: databaseUrl, CARDEA_MIGRATION_DATABASE_URL: migrationUrl } = settings;
  const full = settings.CARDEA_PROFILE === 'full';
  if (full && databaseUrl === undefined) {
    throw new StartError('Profile full needs CARDEA_DATABASE_URL: a PostgreSQL database that only audit-service uses.');
  }
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
    database: full ? databaseUrl! : join(folder, 'audit.db'),
    ...(full && migrationUrl !== undefined ? { migrationUrl } : {}),
    allowFsyncOff: settings.CARDEA_TEST_ALLOW_FSYNC_OFF,
  };
}
