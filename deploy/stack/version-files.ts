import { chmod, cp, mkdir, readFile, readdir, rename, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { errorOutput } from '../settings-check.ts';
import type { Say } from '../child.ts';
import { docker, hasImage, root } from './docker.ts';

const VERSIONS_KEPT = 3;

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

/**
 * Removes all versions and their images but the last three, with those `inUse` among the three. The one before is needed to
 * restore the last backup. An image that cannot be removed stays with its version for the next time, and that is said.
 */
export async function removeOldVersions(folder: string, inUse: string[], say: Say): Promise<void> {
  const newestFirst = (await versionsIn(folder)).toSorted((one, other) => (one.madeAt < other.madeAt ? 1 : -1));
  const others = newestFirst.filter(({ image }) => !inUse.includes(image));
  await removeVersions(folder, others.slice(Math.max(0, VERSIONS_KEPT - inUse.length)), say);
}

/** Removes all versions and the images that were built for them, and says which image it cannot remove. */
export async function removeAllVersions(folder: string, say: Say): Promise<void> {
  await removeVersions(folder, await versionsIn(folder), say);
}

async function removeVersions(folder: string, versions: Version[], say: Say): Promise<void> {
  for (const { name, image } of versions) {
    try {
      if (await hasImage(image)) await docker('image', 'rm', image);
      await rm(join(folder, 'versions', name), { recursive: true });
      say(`removed the version ${image}`);
    } catch (error) {
      say(`the version ${image} could not be removed: ${errorOutput(error)}`);
    }
  }
}

interface Version {
  /** The name of its folder. */
  name: string;
  image: string;
  madeAt: string;
}

async function versionsIn(folder: string): Promise<Version[]> {
  const path = join(folder, 'versions');
  const names = existsSync(path) ? await readdir(path) : [];
  return names.flatMap((name) => {
    const parts = /^cardea-(.+-(\d{8}T\d{6}))$/.exec(name);
    return parts ? [{ name, image: `cardea:${parts[1]!}`, madeAt: parts[2]! }] : [];
  });
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
