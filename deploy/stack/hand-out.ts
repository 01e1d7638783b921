import { chown, lchown, lstat, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { CannotStart, errorCode } from '../cannot-start.ts';
import { parseOwner } from './stack-files.ts';
import type { Handout, Owner } from './stack-files.ts';

/**
 * Copies to each container's volume the files that this container needs, so that only its user can read them. `volumes`
 * has a folder for each container. A file that is right is not written again. Resolves with the paths that were written.
 *
 * @throws CannotStart that names every file that is missing in `folder`
 */
export async function handOut(folder: string, volumes: string, handouts: Handout[]): Promise<string[]> {
  refuseMissing(
    folder,
    handouts.flatMap(({ files }) => Object.values(files)),
  );
  const written = [];
  for (const { container, owner, files } of handouts) {
    for (const [name, source] of Object.entries(files)) {
      const target = join(volumes, container, name);
      if (await copy(join(folder, source), target, owner)) written.push(`${container}/${name}`);
    }
    await removeOthers(join(volumes, container), Object.keys(files));
  }
  return written;
}

function refuseMissing(folder: string, sources: string[]): void {
  const missing = [...new Set(sources)].filter((source) => !existsSync(join(folder, source)));
  if (missing.length === 0) return;
  throw new CannotStart(
    `the folder of the stack has no ${missing.join(', ')}: run \`npx -y pnpm@12 run stack\`, which makes what is missing`,
  );
}

async function copy(source: string, target: string, owner: Owner): Promise<boolean> {
  const content = await readFile(source, 'utf8');
  const { uid, gid } = parseOwner(owner);
  if (await isRight(target, content, uid)) return false;
  // A reader sees the old file or the new one, and never one that it may not read.
  const temporary = `${target}.new`;
  await rm(temporary, { force: true });
  await writeNewFile(temporary, content, 0o400);
  await chown(temporary, uid, gid);
  await rename(temporary, target);
  await syncFolder(dirname(target));
  return true;
}

async function isRight(target: string, content: string, uid: number): Promise<boolean> {
  try {
    const file = await open(target);
    try {
      const found = await file.stat();
      return found.uid === uid && (found.mode & 0o777) === 0o400 && (await file.readFile('utf8')) === content;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

// What an earlier version handed out is not left behind.
async function removeOthers(volume: string, wanted: string[]): Promise<void> {
  for (const name of await readdir(volume)) {
    if (!wanted.includes(name)) await rm(join(volume, name), { recursive: true });
  }
}

/** Gives files that root made in the stack's folder to the owner of the folder, who must be able to read them. */
export async function giveToOwner(folder: string, paths: string[]): Promise<void> {
  const { uid, gid } = await stat(folder);
  for (const path of paths) await lchown(join(folder, path), uid, gid);
}

/**
 * Gives everything that a run of root, as by certbot, made in the stack's folder to the owner of the folder: with a file
 * that only root can read, the owner could not run the command again.
 */
export async function giveAllToOwner(folder: string): Promise<void> {
  if (process.geteuid?.() !== 0 || !existsSync(folder)) return;
  if ((await stat(folder)).uid === 0) return;
  const paths = await readdir(folder, { recursive: true });
  const owned = await Promise.all(paths.map(async (path) => ({ path, uid: (await lstat(join(folder, path))).uid })));
  await giveToOwner(
    folder,
    owned.filter(({ uid }) => uid === 0).map(({ path }) => path),
  );
}
