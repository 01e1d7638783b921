import { commonSettings, readConfig } from '@cardea/process/config';
import { vaultVariables } from '@cardea/vault/settings';
import { z } from 'zod';

const Settings = z.object({
  ...commonSettings,
  ...vaultVariables,
  CARDEA_PROFILE: z.literal('full', 'the worker belongs to profile full; in mini api-service runs the jobs'),
  CARDEA_KEK_URL: z.url(),
  CARDEA_AUDIT_URL: z.url(),
  CARDEA_DATABASE_URL: z.url(),
  CARDEA_REDIS_URL: z.url(),
  /** For tests only: a PostgreSQL that does not wait for its disk loses commits in a power cut. */
  CARDEA_TEST_ALLOW_FSYNC_OFF: z.stringbool().default(false),
});

export type WorkerConfig = z.output<typeof Settings>;

/** @throws StartError */
export function readWorkerConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  return readConfig(Settings, env);
}
