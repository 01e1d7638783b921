import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { StartError } from '@cardea/process/config';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The data folder of profile mini, as the start command finds it. @throws StartError in profile full */
export function dataFolderOf(env: NodeJS.ProcessEnv): string {
  if (env['CARDEA_PROFILE'] === 'full') {
    throw new StartError('This is for profile mini, and CARDEA_PROFILE is full: see docs/backup-restore.md.');
  }
  return resolve(root, env['CARDEA_DATA_DIR'] || 'data');
}
