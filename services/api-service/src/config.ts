import { join } from 'node:path';
import { Port, readConfig } from '@cardea/process/config';
import { serversOf, toVaultConfig, vaultConfigRules, vaultConfigVariables } from '@cardea/wiring/vault-config';
import type { VaultConfig } from '@cardea/wiring/vault-config';
import { z } from 'zod';

const Settings = z.object({
  ...vaultConfigVariables,
  CARDEA_PORT: Port.default(8400),
  /** The number of trusted proxies in front, whose entries in X-Forwarded-For count. */
  CARDEA_TRUSTED_PROXIES: z.coerce.number().int().min(0).max(8).default(0),
  CARDEA_SIGN_INS_PER_MINUTE: z.coerce.number().int().positive().default(30),
  CARDEA_REQUESTS_PER_MINUTE: z.coerce.number().int().positive().default(6_000),
  /** Refusals per minute after which a caller is dropped for a minute. A third of it for names that do not exist. */
  CARDEA_REFUSALS_PER_MINUTE: z.coerce.number().int().positive().default(300),
  CARDEA_READS_PER_SECOND: z.coerce.number().int().positive().default(5_000),
});

export interface ApiConfig extends VaultConfig {
  profile: 'mini' | 'full';
  /** The folder of the database in profile mini. */
  folder: string;
  host: string;
  port: number;
  opsHost: string;
  opsPort: number;
  logLevel: string;
  initialPasswordFile: string;
  trustedProxies: number;
  signInsPerMinute: number;
  requestsPerMinute: number;
  readsPerSecond: number;
  refusalsPerMinute: number;
}

/** @throws StartError */
export function readApiConfig(env: NodeJS.ProcessEnv): ApiConfig {
  const settings = readConfig(Settings, env, vaultConfigRules);
  const folder = join(settings.CARDEA_DATA_DIR, 'api');
  const sqlite = { database: join(folder, 'cardea.db'), redis: undefined };
  const where = settings.CARDEA_PROFILE === 'full' ? serversOf(settings) : sqlite;
  return {
    ...toVaultConfig(settings, where, env),
    folder,
    profile: settings.CARDEA_PROFILE,
    host: settings.CARDEA_HOST,
    port: settings.CARDEA_PORT,
    opsHost: settings.CARDEA_OPS_HOST,
    opsPort: settings.CARDEA_OPS_PORT,
    logLevel: settings.CARDEA_LOG_LEVEL,
    initialPasswordFile: join(settings.CARDEA_DATA_DIR, 'initial-admin-password'),
    trustedProxies: settings.CARDEA_TRUSTED_PROXIES,
    signInsPerMinute: settings.CARDEA_SIGN_INS_PER_MINUTE,
    requestsPerMinute: settings.CARDEA_REQUESTS_PER_MINUTE,
    readsPerSecond: settings.CARDEA_READS_PER_SECOND,
    refusalsPerMinute: settings.CARDEA_REFUSALS_PER_MINUTE,
  };
}
