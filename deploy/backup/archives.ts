import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { StartError } from '@cardea/process/config';
import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { z } from 'zod';

/** The archives of a backup. The second one has all keys, so the first one alone opens nothing. */
export const ARCHIVES = ['cardea-data.tar', 'cardea-keys.tar'] as const;
const MANIFEST = 'manifest.json';
const version = 1;

const Manifest = z.strictObject({
  v: z.literal(version),
  /** The same in both archives of a backup. */
  backup: z.uuid(),
  madeAt: z.iso.datetime(),
  files: z.array(z.strictObject({ path: z.string(), bytes: z.int(), sha256: z.string() })),
});
/** What is in an archive. */
type Manifest = z.output<typeof Manifest>;

/** What the archives of one backup have in common. */
export interface BackupId {
  backup: string;
  madeAt: string;
}

/** @param now the time at which the backup is made */
export function newBackupId(now: Date): BackupId {
  return { backup: randomUUID(), madeAt: now.toISOString() };
}

/** Writes all files of a folder, and a manifest of them, into an archive that only its owner can read. */
export async function pack(folder: string, archive: string, id: BackupId): Promise<void> {
  const files = await Promise.all((await filesIn(folder)).map((path) => describe(folder, path)));
  const manifest: Manifest = { v: version, ...id, files };
  await writeNewFile(join(folder, MANIFEST), `${JSON.stringify(manifest, undefined, 2)}\n`, 0o600);
  await tar(['-cf', archive, '-C', folder, MANIFEST, ...files.map(({ path }) => path)]);
  await sync(archive);
}

/**
 * Brings all files of an archive into a folder, and compares each with the manifest.
 * @throws StartError if they are not the files of the backup
 */
export async function unpack(archive: string, folder: string): Promise<BackupId> {
  // The files belong to this user, as everything that it makes.
  await tar(['-oxf', archive, '-C', folder]);
  const { files, backup, madeAt } = await readManifest(join(folder, MANIFEST), archive);
  for (const file of files) {
    const { bytes, sha256 } = await describe(folder, file.path);
    if (bytes === file.bytes && sha256 === file.sha256) continue;
    throw new StartError(`${file.path} in ${archive} is not as it was written: take another backup.`);
  }
  for (const { path } of files) await sync(join(folder, path));
  return { backup, madeAt };
}

async function readManifest(path: string, archive: string): Promise<Manifest> {
  try {
    return Manifest.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw new StartError(`${archive} has no manifest that this version understands, so it is not of pnpm backup.`, {
      cause,
    });
  }
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return paths.map((path) => path.slice(folder.length + 1)).toSorted();
}

async function describe(folder: string, path: string): Promise<Manifest['files'][number]> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(join(folder, path))) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { path, bytes, sha256: hash.digest('hex') };
}

/** Makes a file, and its name, durable. */
async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolder(join(path, '..'));
}

async function tar(args: string[]): Promise<void> {
  // Without the variable the tar of macOS adds files of its own.
  const env = { ...process.env, COPYFILE_DISABLE: '1' };
  try {
    await promisify(execFile)('tar', args, { env });
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new StartError(`tar has failed: ${stderr?.trim() || String(cause)}`, { cause });
  }
}
