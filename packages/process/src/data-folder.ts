import { mkdirSync } from 'node:fs';
import { StartError } from './config.ts';

/** Makes a folder that its owner alone can read, unless it is there. @throws StartError */
export function makeDataFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new StartError(`The folder ${folder} cannot be made: give Cardea a folder it may write (CARDEA_DATA_DIR).`, {
      cause,
    });
  }
}
