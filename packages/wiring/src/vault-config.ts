import { commonSettings } from '@cardea/process/config';
import type { VaultSettings } from '@cardea/vault/context';
import { toVaultSettings, vaultVariables } from '@cardea/vault/settings';
import { z } from 'zod';
import { readWebhooksFile } from './webhooks-file.ts';

/** The settings that `openVault` needs. */
export interface VaultConfig {
  tlsDir: string;
  kekUrl: string;
  auditUrl: string;
  /** A file or a PostgreSQL URL. */
  database: string;
  /** The Redis through which processes share their jobs. Without it, each process has its own jobs. */
  redisUrl: string | undefined;
  allowFsyncOff: boolean;
  vaultSettings: VaultSettings;
}

/** Settings of every service that opens a vault. Each service has its own settings for the database and Redis. */
export const vaultConfigVariables = {
  ...commonSettings,
  ...vaultVariables,
  CARDEA_KEK_URL: z.url(),
  CARDEA_AUDIT_URL: z.url(),
  /** The receivers of webhooks, as JSON or YAML. Without it there are none. */
  CARDEA_WEBHOOKS_FILE: z.string().min(1).optional(),
  /** For tests only: without fsync, PostgreSQL loses commits in a power cut. */
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
};

const Variables = z.object(vaultConfigVariables);

/** Converts the variables, and reads the file of webhooks. `env` has the variables that the file refers to. @throws StartError */
export function toVaultConfig(
  variables: z.output<typeof Variables>,
  where: Pick<VaultConfig, 'database' | 'redisUrl'>,
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
