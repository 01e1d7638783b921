import { Port, ServiceUrl, commonSettings, readConfig, wholeNumber } from '@cardea/process/config';
import type { Rule } from '@cardea/process/config';
import { SecretPath } from '@cardea/process/server-settings';
import { z } from 'zod';
import type { TokenConfig } from './seals/token.ts';
import type { UnwrapBudgetLimits } from './unwrap-budget.ts';

/** The settings of kek-service. */
export interface KekConfig {
  host: string;
  port: number;
  opsHost: string;
  opsPort: number;
  /** The keyring is in the folder `kek` of this folder. */
  dataDir: string;
  tlsDir: string;
  logLevel: string;
  /** The seal of a new keyring; the default is `file`. */
  seal?: 'file' | 'passphrase';
  /** Without it a keyring sealed by passphrase waits for POST /v1/unseal. */
  passphraseFile?: string;
  /** For seals by a PKCS#11 token. */
  token?: TokenConfig;
  unwrapBudget: UnwrapBudgetLimits;
  /** Without it, what kek-service records is only logged. */
  auditUrl?: string;
}

const Settings = z.object({
  ...commonSettings,
  CARDEA_KEK_PORT: Port,
  CARDEA_SEAL: z.enum(['file', 'passphrase']).optional(),
  CARDEA_SEAL_PASSPHRASE_FILE: SecretPath.optional(),
  CARDEA_PKCS11_MODULE: z.string().min(1).optional(),
  CARDEA_PKCS11_PIN_FILE: SecretPath.optional(),
  CARDEA_UNWRAP_VAULTS_PER_MINUTE: wholeNumber({ min: 1 }).default(300),
  CARDEA_UNWRAPS_PER_MINUTE: wholeNumber({ min: 1 }).default(6_000),
  CARDEA_AUDIT_URL: ServiceUrl.optional(),
});

// With one of them only, the seal of a token would be ignored, and kek-service would start sealed.
const tokenNeedsBoth: Rule = (given) => {
  const both = ['CARDEA_PKCS11_MODULE', 'CARDEA_PKCS11_PIN_FILE'];
  const [missing, ...others] = both.filter((name) => !(name in given));
  if (missing === undefined || others.length > 0) return [];
  return [`${missing} is not set, and ${both.find((name) => name !== missing)} is nothing without it`];
};

/** Reads the settings of kek-service. @throws StartError that names every wrong variable */
export function readKekConfig(env: NodeJS.ProcessEnv): KekConfig {
  const settings = readConfig(Settings, env, [tokenNeedsBoth]);
  const { CARDEA_PKCS11_MODULE: module, CARDEA_PKCS11_PIN_FILE: pinFile } = settings;
  const { CARDEA_SEAL: seal, CARDEA_SEAL_PASSPHRASE_FILE: passphraseFile, CARDEA_AUDIT_URL: auditUrl } = settings;
  return {
    host: settings.CARDEA_HOST,
    port: settings.CARDEA_KEK_PORT,
    opsHost: settings.CARDEA_OPS_HOST,
    opsPort: settings.CARDEA_OPS_PORT,
    dataDir: settings.CARDEA_DATA_DIR,
    tlsDir: settings.CARDEA_TLS_DIR,
    logLevel: settings.CARDEA_LOG_LEVEL,
    unwrapBudget: {
      vaultsPerMinute: settings.CARDEA_UNWRAP_VAULTS_PER_MINUTE,
      unwrapsPerMinute: settings.CARDEA_UNWRAPS_PER_MINUTE,
    },
    ...(module === undefined || pinFile === undefined ? {} : { token: { module, pinFile } }),
    ...(seal === undefined ? {} : { seal }),
    ...(passphraseFile === undefined ? {} : { passphraseFile }),
    ...(auditUrl === undefined ? {} : { auditUrl }),
  };
}
