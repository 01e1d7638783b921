import { open } from 'node:fs/promises';

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
