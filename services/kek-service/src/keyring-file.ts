import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { StartError } from '@cardea/process/config';
import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { KeyringFile } from './keyring-format.ts';

const NAME = 'keyring.json';
const TEMPORARY_NAME = 'keyring.json.tmp';

/**
 * Replaces the keyring in `folder`: a crash at any moment leaves the old one or the new one, whole. Mode 0600.
 * Resolves once it is durable.
 */
export async function writeKeyringFile(folder: string, keyring: KeyringFile): Promise<void> {
  const temporary = join(folder, TEMPORARY_NAME);
  await rm(temporary, { force: true });
  await writeNewFile(temporary, toText(keyring), 0o600);
  await rename(temporary, join(folder, NAME));
  await syncFolder(folder);
}

/**
 * Reads the keyring in `folder`; nothing in it is authenticated yet. Removes what a crash in the middle of a write
 * left behind. @throws StartError if it is missing, unreadable or damaged
 */
export async function readKeyringFile(folder: string): Promise<KeyringFile> {
  await rm(join(folder, TEMPORARY_NAME), { force: true });
  const path = join(folder, NAME);
  const text = await readText(path);
  try {
    return parseKeyring(text);
  } catch (cause) {
    throw new StartError(`The keyring ${path} is damaged: put it back from a backup.`, { cause });
  }
}

/** Parses the text of a keyring, of which only one spelling is accepted. @throws an error if a byte is not as written */
export function parseKeyring(text: string): KeyringFile {
  const keyring = KeyringFile.parse(JSON.parse(text));
  // A duplicate key or another whitespace parses too, and nothing we wrote has either.
  if (toText(keyring) !== text) throw new Error('the keyring is not in its canonical form');
  return keyring;
}

function toText(keyring: KeyringFile): string {
  return `${canonicalize(keyring)}\n`;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw new StartError(`The keyring ${path} cannot be read (${code}).`, { cause });
    throw new StartError(
      `The keyring ${path} is missing, and without it nothing that was encrypted can be read: put it back from a ` +
        'backup, or begin anew with an empty data folder.',
      { cause },
    );
  }
}
