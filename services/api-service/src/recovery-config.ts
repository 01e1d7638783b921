import { join, resolve } from 'node:path';
import { commonSettings, fullNeeds, readConfig } from '@cardea/process/config';
import { databaseRules, databaseVariables } from '@cardea/process/server-settings';
import type { PostgresServer } from '@cardea/storage/postgres-server';
import { z } from 'zod';

const { CARDEA_PROFILE, CARDEA_DATA_DIR } = commonSettings;

const Settings = z.object({
  CARDEA_PROFILE,
  CARDEA_DATA_DIR,
  ...databaseVariables,
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
});

const rules = [fullNeeds('CARDEA_DATABASE_URL', 'the PostgreSQL database of api-service'), databaseRules('DATABASE')];

/** What the recovery of an admin needs of the settings of api-service. */
export interface RecoveryConfig {
  /** A PostgreSQL server, or the path of a SQLite file. */
  database: PostgresServer | string;
  allowFsyncOff: boolean;
  dataDir: string;
  initialPasswordFile: string;
}

/** @throws StartError */
export function readRecoveryConfig(env: NodeJS.ProcessEnv): RecoveryConfig {
  const settings = readConfig(Settings, env, rules);
  const dataDir = resolve(settings.CARDEA_DATA_DIR);
  const server = {
    url: settings.CARDEA_DATABASE_URL!,
    password: settings.CARDEA_DATABASE_PASSWORD_FILE,
    ca: settings.CARDEA_DATABASE_CA_FILE,
  };
  return {
    database: settings.CARDEA_PROFILE === 'full' ? server : join(dataDir, 'api', 'cardea.db'),
    allowFsyncOff: settings.CARDEA_TEST_ALLOW_FSYNC_OFF,
    dataDir,
    initialPasswordFile: join(dataDir, 'initial-admin-password'),
  };
}
