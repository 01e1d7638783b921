import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withCause } from './cause.ts';
import { StartError } from './config.ts';
import { closeToOthers } from './private-mode.ts';

export interface DataFolderOptions {
  /** The names of files that stay as they are. */
  keys?: string[];
  /** Tells the operator one line. */
  say: (line: string) => void;
}

/**
 * Makes the folder of a service in the data folder, which only its owner can read, if it does not exist; see
 * `closeDataFolder`.
 * @throws StartError
 */
export function makeDataFolder(folder: string, options: DataFolderOptions): void {
  refuseUnfinishedRestore(dirname(folder));
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const message = withCause(`The folder ${folder} cannot be made`, cause);
    throw new StartError(`${message}, or set CARDEA_DATA_DIR to another folder.`, { cause });
  }
  closeDataFolder(folder, options);
}

/** In the data folder while `pnpm restore` brings a backup back: before the first of its files, and until after the last. */
export const UNFINISHED_RESTORE = '.restoring';

/**
 * A start on a part of a backup would begin an empty installation with the keys of the old one.
 * @throws StartError if a restore into the data folder was interrupted, or is under way
 */
export function refuseUnfinishedRestore(dataDir: string): void {
  if (!existsSync(join(dataDir, UNFINISHED_RESTORE))) return;
  throw new StartError(
    `A restore into ${dataDir} is under way or was interrupted: let it end, or empty the folder and run pnpm restore again.`,
  );
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
