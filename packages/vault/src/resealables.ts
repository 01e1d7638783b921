import { keyVersions } from './keys/reseal-key-versions.ts';
import { importJobs } from './keys/transfer/import-job-store.ts';
import { secretVersions } from './secrets/reseal-versions.ts';
import { signingKeys } from './users/reseal-signing-keys.ts';
import { totpSecrets } from './users/reseal-totp.ts';
import { webhookSecrets } from './webhook-secrets/reseal-webhook-secrets.ts';
import type { Resealable } from './deks/resealable.ts';

/** Everything that is sealed under a DEK. A feature that seals data must add it here, or a rotation loses the data. */
export const allResealables: readonly Resealable[] = [
  secretVersions,
  keyVersions,
  totpSecrets,
  signingKeys,
  webhookSecrets,
  importJobs,
];
