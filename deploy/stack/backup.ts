import { existsSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { inContainer } from './docker.ts';
import type { Profile } from './stack-files.ts';

/** The volumes with data, by archive. The keys of kek-service are apart, because they open the values in the other. */
const archives: Record<Profile, Record<string, string[]>> = {
  mini: { 'cardea-data.tar': ['api-data', 'audit-data'], 'cardea-kek.tar': ['kek-data'] },
  full: {
    'cardea-data.tar': ['api-data', 'audit-data', 'postgres-data', 'redis-data'],
    'cardea-kek.tar': ['kek-data'],
  },
};

/** The stack whose volumes are copied or measured. To be copied, all of its containers must have been stopped: all parts are of one moment then. */
export interface Stopped {
  profile: Profile;
  /** The name before each volume. */
  project: string;
  /** An image with a shell and tar. */
  image: string;
}

/** Copies all data into archives in the new folder `target`, which only its owner can read. */
export async function backUp(stack: Stopped, target: string): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o700 });
  const { uid, gid } = await stat(target);
  for (const [archive, volumes] of Object.entries(archives[stack.profile])) {
    const mounts = volumes.flatMap((volume) => ['--volume', `${stack.project}_${volume}:/from/${volume}:ro`]);
    await inContainer(
      stack.image,
      [...mounts, '--volume', `${target}:/to`],
      `umask 077; tar -C /from --numeric-owner -cpf /to/${archive}.new ${volumes.join(' ')} && chown ${uid}:${gid} /to/${archive}.new && mv /to/${archive}.new /to/${archive} && sync /to/${archive}`,
    );
  }
}

/** How many bytes all data take, and so a backup of them at most. */
export async function measureData(stack: Stopped): Promise<number> {
  const volumes = Object.values(archives[stack.profile]).flat();
  const mounts = volumes.flatMap((volume) => ['--volume', `${stack.project}_${volume}:/from/${volume}:ro`]);
  return 1024 * Number.parseInt(await inContainer(stack.image, mounts, 'du -sk /from'), 10);
}

/** Replaces all data by that of the archives in `source`. @throws Error if an archive is missing */
export async function restore(stack: Stopped, source: string): Promise<void> {
  for (const [archive, volumes] of Object.entries(archives[stack.profile])) {
    if (!existsSync(join(source, archive))) throw new Error(`there is no ${join(source, archive)}`);
    const mounts = volumes.flatMap((volume) => ['--volume', `${stack.project}_${volume}:/to/${volume}`]);
    const folders = volumes.map((volume) => `/to/${volume}`).join(' ');
    await inContainer(
      stack.image,
      [...mounts, '--volume', `${source}:/from:ro`],
      `find ${folders} -mindepth 1 -delete && tar -C /to --numeric-owner -xpf /from/${archive}`,
    );
  }
}
