import { chmod, cp, mkdir, readFile, readdir, rename, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './docker.ts';

/** What the containers mount of the checkout, with the compose files. */
const mounted = [
  'docker-compose.mini.yml',
  'docker-compose.full.yml',
  'nginx',
  'prometheus',
  'grafana/provisioning',
  'grafana/dashboards',
  'deploy/roles.sql',
  'deploy/stack/pg_hba.conf',
  'deploy/stack/roles.psql',
];

/**
 * Copies the compose files and what they mount into the stack's folder, so that a changed checkout changes nothing that
 * runs, and the way back after an upgrade leads to the old files too. Returns the folder of the copy.
 */
export async function keepVersionFiles(folder: string, image: string): Promise<string> {
  const target = join(folder, 'versions', image.replaceAll(/[^a-z0-9.-]/gi, '-'));
  if (existsSync(target)) return target;
  const temporary = `${target}.new`;
  await rm(temporary, { recursive: true, force: true });
  for (const path of mounted) {
    await mkdir(join(temporary, path, '..'), { recursive: true });
    await cp(join(root, path), join(temporary, path), { recursive: true });
  }
  await letContainersRead(temporary);
  await rename(temporary, target);
  return target;
}

/** The name of the image that this checkout builds, in one build: `cardea:0.1.0-20261129T140500`. */
export async function nameNewImage(now: Date): Promise<string> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  return `cardea:${version}-${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}`;
}

// Each container runs as a user of its own. Nothing here is secret, and the stack's folder itself is closed to others.
async function letContainersRead(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    await (entry.isDirectory() ? letContainersRead(path) : chmod(path, 0o644));
  }
}
