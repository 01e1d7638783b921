import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import { StartError } from '@cardea/process/config';
import { writeNewFile } from '@cardea/process/durable-file';
import { ROOT_KEY_VERSION } from '../keyring.ts';

const NAME = 'root-key';
const LINE = /^[A-Za-z0-9+/]{43}=\n?$/;

/** What whoever runs an installation with the file seal must be told when its root key is made. */
export const fileSealWarning = [
  'A root key was made, and it lies unprotected in a file named root-key in the kek folder of the data directory.',
  'Whoever reads that file, the keyring beside it and the database reads every secret.',
  'Back it up now, apart from the data: without it nothing can be decrypted, by anybody.',
  'To need a passphrase at each start instead, begin a new installation with CARDEA_SEAL=passphrase.',
];

/** Makes a root key and writes it to `folder`: 32 bytes as a line of base64, mode 0400. Resolves once it is durable. */
export async function makeRootKey(folder: string): Promise<EnvelopeKey> {
  const bytes = randomKey();
  try {
    await writeNewFile(join(folder, NAME), `${toBase64(bytes)}\n`, 0o400);
    return new EnvelopeKey(ROOT_KEY_VERSION, bytes);
  } finally {
    bytes.fill(0);
  }
}

/** Reads the root key in `folder`. @throws StartError if it is missing, damaged, or readable by others */
export async function readRootKey(folder: string): Promise<EnvelopeKey> {
  const path = join(folder, NAME);
  const text = await readPrivateFile(path);
  if (!LINE.test(text)) throw new StartError(`The root key ${path} is damaged: put it back from a backup.`);
  const bytes = fromBase64(text);
  try {
    return new EnvelopeKey(ROOT_KEY_VERSION, bytes);
  } finally {
    bytes.fill(0);
  }
}

async function readPrivateFile(path: string): Promise<string> {
  await using file = await openFile(path);
  const { mode } = await file.stat();
  if ((mode & 0o077) !== 0) {
    throw new StartError(`The root key ${path} can be read by other users of this machine: run chmod 400 ${path}.`);
  }
  return file.readFile('latin1');
}

async function openFile(path: string) {
  try {
    return await open(path, 'r');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw new StartError(`The root key ${path} cannot be read (${code}).`, { cause });
    throw new StartError(
      `The root key ${path} is missing, and only it opens the keyring beside it: put it back from a backup.`,
      { cause },
    );
  }
}
