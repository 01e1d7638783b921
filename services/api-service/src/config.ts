import { join } from 'node:path';
import { Cidr, holdsEverybody } from '@cardea/contracts/cidr';
import { Port, readConfig, wholeNumber } from '@cardea/process/config';
import type { Rule } from '@cardea/process/config';
import { serversOf, toVaultConfig, vaultConfigRules, vaultConfigVariables } from '@cardea/wiring/vault-config';
import type { VaultConfig } from '@cardea/wiring/vault-config';
import { z } from 'zod';
import type { TrustedProxies } from './client-address.ts';

const LOOPBACK = ['127.0.0.0/8', '::1'];

/** Addresses and networks, separated by commas. Those that hold every address together are refused: nobody would be a stranger. */
const CidrList = z
  .string()
  .transform((list) => list.split(',').map((entry) => entry.trim()))
  .refine(
    (list) => list.every((entry) => Cidr.safeParse(entry).success) && !holdsEverybody(list),
    'must be addresses or networks such as 192.0.2.1,10.0.0.0/8, with host bits 0, and together not all that there are',
  );

/** Without a number of proxies, the header is ignored and the networks would have no effect. */
const networksNeedProxies: Rule = (given) =>
  'CARDEA_TRUSTED_PROXY_CIDRS' in given && Number(given['CARDEA_TRUSTED_PROXIES'] ?? 0) === 0
    ? ['CARDEA_TRUSTED_PROXY_CIDRS is set, but CARDEA_TRUSTED_PROXIES, the number of proxies, is not']
    : [];

const Settings = z.object({
  ...vaultConfigVariables,
  CARDEA_PORT: Port.default(8400),
  /** The number of trusted proxies in front, whose entries in X-Forwarded-For count. */
  CARDEA_TRUSTED_PROXIES: wholeNumber({ min: 0, max: 8 }).default(0),
  /** From where the last of them connects: addresses and networks, separated by commas. */
  CARDEA_TRUSTED_PROXY_CIDRS: CidrList.default(LOOPBACK),
  CARDEA_SIGN_INS_PER_MINUTE: wholeNumber({ min: 1 }).default(30),
  CARDEA_REQUESTS_PER_MINUTE: wholeNumber({ min: 1 }).default(6_000),
  /** Refusals per minute after which a caller is dropped for a minute. A third of it for names that do not exist. */
  CARDEA_REFUSALS_PER_MINUTE: wholeNumber({ min: 1 }).default(300),
  /** Connections that are open at once. One network has a quarter of them, unless a trusted proxy is there. */
  CARDEA_CONNECTIONS: wholeNumber({ min: 16, max: 100_000 }).default(4_096),
  CARDEA_READS_PER_SECOND: wholeNumber({ min: 1 }).default(5_000),
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
  trustedProxies: TrustedProxies;
  signInsPerMinute: number;
  requestsPerMinute: number;
  readsPerSecond: number;
  refusalsPerMinute: number;
  connections: number;
}

/** @throws StartError */
export function readApiConfig(env: NodeJS.ProcessEnv): ApiConfig {
  const settings = readConfig(Settings, env, [...vaultConfigRules, networksNeedProxies]);
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
    trustedProxies: { count: settings.CARDEA_TRUSTED_PROXIES, cidrs: settings.CARDEA_TRUSTED_PROXY_CIDRS },
    signInsPerMinute: settings.CARDEA_SIGN_INS_PER_MINUTE,
    requestsPerMinute: settings.CARDEA_REQUESTS_PER_MINUTE,
    readsPerSecond: settings.CARDEA_READS_PER_SECOND,
    refusalsPerMinute: settings.CARDEA_REFUSALS_PER_MINUTE,
    connections: settings.CARDEA_CONNECTIONS,
  };
}
