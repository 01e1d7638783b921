import type { RedisServer } from '@cardea/jobs/redis-options';
import { ServiceUrl, commonSettings, fullNeeds, startProblem } from '@cardea/process/config';
import type { Rule } from '@cardea/process/config';
import { databaseRules, databaseVariables, redisRules, redisVariables } from '@cardea/process/server-settings';
import type { PostgresServer } from '@cardea/storage/postgres-server';
import type { VaultSettings } from '@cardea/vault/context';
import { z } from 'zod';
import { toVaultSettings, vaultVariables } from './vault-settings.ts';
import { readWebhooksFile } from './webhooks-file.ts';

/** The settings that `openVault` needs. */
export interface VaultConfig {
  tlsDir: string;
  kekUrl: string;
  auditUrl: string;
  /** A PostgreSQL server, or the path of a SQLite file. */
  database: PostgresServer | string;
  /** The Redis through which processes share their jobs. Without it, each process has its own jobs. */
  redis: RedisServer | undefined;
  allowFsyncOff: boolean;
  vaultSettings: VaultSettings;
}

/** Settings of every service that opens a vault. */
export const vaultConfigVariables = {
  ...commonSettings,
  ...vaultVariables,
  ...databaseVariables,
  ...redisVariables,
  CARDEA_KEK_URL: ServiceUrl,
  CARDEA_AUDIT_URL: ServiceUrl,
  /** The receivers of webhooks, as JSON or YAML. Without it there are none. */
  CARDEA_WEBHOOKS_FILE: z.string().min(1).optional(),
  /** For tests only: without fsync, PostgreSQL loses commits in a power cut. */
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
};

/** What these settings must fulfil together. */
export const vaultConfigRules: Rule[] = [
  fullNeeds('CARDEA_DATABASE_URL', 'the PostgreSQL database that api-service and worker share'),
  fullNeeds('CARDEA_REDIS_URL', 'the Redis that api-service and worker share'),
  databaseRules('DATABASE'),
  redisRules(),
  // Read again when everything is right. Here its problems come with those of the other settings.
  ({ CARDEA_WEBHOOKS_FILE: file, ...env }) => {
    const problem = file === undefined ? undefined : startProblem(() => readWebhooksFile(file, env));
    return problem === undefined ? [] : [problem];
  },
];

const Variables = z.object(vaultConfigVariables);

/** Converts the variables, and reads the file of webhooks. `env` has the variables that the file refers to. @throws StartError */
export function toVaultConfig(
  variables: z.output<typeof Variables>,
  where: Pick<VaultConfig, 'database' | 'redis'>,
  env: NodeJS.ProcessEnv,
): VaultConfig {
  const { CARDEA_WEBHOOKS_FILE: file } = variables;
  const webhooks = file === undefined ? [] : readWebhooksFile(file, env);
  return {
    ...where,
    tlsDir: variables.CARDEA_TLS_DIR,
    kekUrl: variables.CARDEA_KEK_URL,
    auditUrl: variables.CARDEA_AUDIT_URL,
    allowFsyncOff: variables.CARDEA_TEST_ALLOW_FSYNC_OFF,
    vaultSettings: { ...toVaultSettings(variables), webhooks },
  };
}

/** The servers of profile full. */
export function serversOf(variables: z.output<typeof Variables>): Pick<VaultConfig, 'database' | 'redis'> {
  return {
    database: {
      url: variables.CARDEA_DATABASE_URL!,
      password: variables.CARDEA_DATABASE_PASSWORD_FILE,
      ca: variables.CARDEA_DATABASE_CA_FILE,
      connections: variables.CARDEA_DATABASE_CONNECTIONS,
    },
    redis: {
      url: variables.CARDEA_REDIS_URL!,
      password: variables.CARDEA_REDIS_PASSWORD_FILE,
      ca: variables.CARDEA_REDIS_CA_FILE,
    },
  };
}
