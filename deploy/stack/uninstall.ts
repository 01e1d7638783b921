import { rm } from 'node:fs/promises';

import { CannotStart } from '../cannot-start.ts';
import type { Say } from '../child.ts';
import { composeOf } from './docker.ts';
import { readEnv } from './env-file.ts';
import { removeAllVersions } from './version-files.ts';

/**
 * Removes the containers and networks of the stack. The data, the settings and the certificates stay, and `stack` brings
 * it back; with `deleteData` they are deleted too, and with them the backups and the images that the stack has built.
 * @throws CannotStart if there is no stack
 */
export async function uninstall(folder: string, { deleteData, say }: { deleteData: boolean; say: Say }): Promise<void> {
  if (!(await readEnv(folder))) throw new CannotStart(`there is no stack in ${folder}`);
  const compose = composeOf(folder);
  await compose.run('down', '--remove-orphans', ...(deleteData ? ['--volumes'] : []));
  if (!deleteData) return;
  await removeAllVersions(folder, say);
  await rm(folder, { recursive: true });
}
