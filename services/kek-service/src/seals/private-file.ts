import type { Stats } from 'node:fs';
import { access, constants, open, stat } from 'node:fs/promises';
import { StartError } from '@cardea/process/config';

/** A file with a passphrase or a PIN, and the variable that names it. */
export interface PrivateFile {
  path: string;
  variable: string;
}

/** The text of the file, without the newline that editors end files with. @throws StartError if it cannot be read, or can be by others */
export async function readPrivateFile(file: PrivateFile): Promise<string> {
  try {
    await using handle = await open(file.path, 'r');
    refuseShared(file, await handle.stat());
    return (await handle.readFile('utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw explain(file, error);
  }
}

/** Says the same of the file as reading it would, and does not take from a pipe what can be read only once. */
export async function checkPrivateFile(file: PrivateFile): Promise<void> {
  try {
    await access(file.path, constants.R_OK);
    refuseShared(file, await stat(file.path));
  } catch (error) {
    throw explain(file, error);
  }
}

function refuseShared({ path, variable }: PrivateFile, { mode }: Stats): void {
  if ((mode & 0o077) === 0) return;
  throw new StartError(
    `The file ${path} that ${variable} names can be read by other users of this machine: run chmod 400 ${path}.`,
  );
}

function explain({ path, variable }: PrivateFile, error: unknown): StartError {
  if (error instanceof StartError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new StartError(`The file ${path} that ${variable} names cannot be read (${code}).`, { cause: error });
}
