import { mkdirSync } from 'node:fs';
import { StartError } from './config.ts';

/** Makes a folder that only its owner can read, if it does not exist. @throws StartError */
export function makeDataFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new StartError(
      `The folder ${folder} cannot be made: set CARDEA_DATA_DIR to a folder that Cardea may write to.`,
      {
        cause,
      },
    );
  }
}
