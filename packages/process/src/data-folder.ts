import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { withCause } from './cause.ts';
import { StartError } from './config.ts';
import { closeToOthers } from './private-mode.ts';

export interface DataFolderOptions {
  /** The names of files that stay as they are. */
  keys?: string[];
  /** Tells the operator one line. */
  say: (line: string) => void;
}

/** Makes a folder that only its owner can read, if it does not exist; see `closeDataFolder`. @throws StartError */
export function makeDataFolder(folder: string, options: DataFolderOptions): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const message = withCause(`The folder ${folder} cannot be made`, cause);
    throw new StartError(`${message}, or set CARDEA_DATA_DIR to another folder.`, { cause });
  }
  closeDataFolder(folder, options);
}

/**
 * Closes a folder and the files in it to other users; see `closeToOthers`. Not the files in `keys`: `readPrivateFile`
 * refuses them, because a key that others could read must perhaps be replaced, and only an operator can decide that.
 * @throws StartError for a file of another user. The folder may be one: an orchestrator makes it for the process's group
 */
export function closeDataFolder(folder: string, { keys = [], say }: DataFolderOptions): void {
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.filter(({ name }) => !keys.includes(name)).map(({ name }) => join(folder, name));
  const file = closeToOthers([folder, ...paths], say).find((path) => path !== folder);
  if (file === undefined) return;
  throw new StartError(
    `The file ${file} can be read by other users of this machine: give it to the user that runs Cardea, and run chmod 600 ${file}.`,
  );
}
