import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces the file at `path` so that a crash at any moment leaves either the old content or the new, readable by
 * nobody `mode` does not let: the temporary file has it from its first byte on. Resolves once the content is durable.
 */
export async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.tmp`;
  await rm(temporary, { force: true });
  await writeNewFile(temporary, content, mode);
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/**
 * Creates the file at `path`, which must not exist, with `mode` from its first byte on. Resolves once its
 * content is durable; its name is durable after `syncFolder`.
 */
export async function writeNewFile(path: string, content: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes durable which names stand in a folder: a rename or a new file is lost in a power cut without it. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The content, or undefined if there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
