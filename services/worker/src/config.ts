import { readConfig } from '@cardea/process/config';
import { toVaultConfig, vaultConfigVariables } from '@cardea/wiring/vault-config';
import type { VaultConfig } from '@cardea/wiring/vault-config';
import { z } from 'zod';

const Settings = z.object({
  ...vaultConfigVariables,
  CARDEA_PROFILE: z.literal('full', 'must be full, because in mini api-service runs the jobs'),
  CARDEA_DATABASE_URL: z.url(),
  CARDEA_REDIS_URL: z.url(),
});

export interface WorkerConfig extends VaultConfig {
  opsHost: string;
  opsPort: number;
  logLevel: string;
}

/** @throws StartError */
export function readWorkerConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  const settings = readConfig(Settings, env);
  return {
    ...toVaultConfig(settings, { database: settings.CARDEA_DATABASE_URL, redisUrl: settings.CARDEA_REDIS_URL }, env),
    opsHost: settings.CARDEA_OPS_HOST,
    opsPort: settings.CARDEA_OPS_PORT,
    logLevel: settings.CARDEA_LOG_LEVEL,
  };
}
