import { readConfig } from '@cardea/process/config';
import { serversOf, toVaultConfig, vaultConfigRules, vaultConfigVariables } from '@cardea/wiring/vault-config';
import type { VaultConfig } from '@cardea/wiring/vault-config';
import { z } from 'zod';

const Settings = z.object({
  ...vaultConfigVariables,
  CARDEA_PROFILE: z.literal('full', 'must be full, because in mini api-service runs the jobs'),
});

export interface WorkerConfig extends VaultConfig {
  opsHost: string;
  opsPort: number;
  logLevel: string;
}

/** @throws StartError */
export function readWorkerConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  const settings = readConfig(Settings, env, vaultConfigRules);
  return {
    ...toVaultConfig(settings, serversOf(settings), env),
    opsHost: settings.CARDEA_OPS_HOST,
    opsPort: settings.CARDEA_OPS_PORT,
    logLevel: settings.CARDEA_LOG_LEVEL,
  };
}
