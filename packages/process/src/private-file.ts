import { accessSync, closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { constants, open } from 'node:fs/promises';
import { withCause } from './cause.ts';
import { StartError } from './config.ts';
import { isPrivate } from './private-mode.ts';

/** A file with a password, a key, a PIN or a token. */
export interface PrivateFile {
  path: string;
  /** How messages begin that speak of the file. The default is `The file <path>`. */
  subject?: string;
}

/** The words for a file that a setting names. */
export function namedBy(variable: string, path: string): PrivateFile {
  return { path, subject: `The file ${path} that ${variable} names` };
}

/**
 * The text of a file with a secret, without the newline that editors end files with.
 * @throws StartError if it cannot be read, or if others can read it, see `isPrivate`
 */
export async function readPrivateFile(file: PrivateFile): Promise<string> {
  try {
    await using handle = await open(file.path, 'r');
    refuseShared(file, await handle.stat());
    return withoutNewline(await handle.readFile('utf8'));
  } catch (error) {
    throw explain(file, error);
  }
}

/** The same as `readPrivateFile`, at once. Not for a file that may be a pipe, because it waits for the writer. */
export function readPrivateFileSync(file: PrivateFile): string {
  let handle: number | undefined;
  try {
    handle = openSync(file.path, 'r');
    refuseShared(file, fstatSync(handle));
    return withoutNewline(readFileSync(handle, 'utf8'));
  } catch (error) {
    throw explain(file, error);
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

/** Says the same of the file as reading it would, and does not take from a pipe what can be read only once. */
export function checkPrivateFile(file: PrivateFile): void {
  try {
    accessSync(file.path, constants.R_OK);
    refuseShared(file, statSync(file.path));
  } catch (error) {
    throw explain(file, error);
  }
}

function refuseShared(file: PrivateFile, stats: Stats): void {
  if (isPrivate(stats)) return;
  throw new StartError(`${subjectOf(file)} can be read by other users of this machine: run chmod 400 ${file.path}.`);
}

function explain(file: PrivateFile, error: unknown): StartError {
  if (error instanceof StartError) return error;
  return new StartError(`${withCause(`${subjectOf(file)} cannot be read`, error)}.`, { cause: error });
}

function subjectOf({ path, subject = `The file ${path}` }: PrivateFile): string {
  return subject;
}

function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, '');
}
