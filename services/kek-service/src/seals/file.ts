import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import { StartError } from '@cardea/process/config';
import { syncFolder, writeNewFile } from '@cardea/process/durable-file';
import { readPrivateFile } from '@cardea/process/private-file';
import { ONLY_VERSION, toKey } from '../keyring/keyring.ts';
import type { NewSeal } from './new-seal.ts';

const NAME = 'seal-key';
const LINE = /^[A-Za-z0-9+/]{43}=$/;

/** What an operator must know of an installation with the file seal, logged when its key is made. */
export const fileSealWarning = [
  'A seal key was made, and it lies unprotected in a file named seal-key in the kek folder of the data directory.',
  'Somebody who reads that file, the keyring beside it and the database reads every secret.',
  'Back it up now, apart from the data: unless the keyring has another seal, nothing can be decrypted without it.',
  'To need a passphrase, shares or a token at each start instead, add such a seal and remove this one (docs/unseal.md).',
];

/**
 * Makes a seal key and writes it to `folder`: 32 bytes as a line of base64, mode 0400. Resolves once it is durable. A key
 * that is there and belongs to no seal, left by a crash, is overwritten.
 */
export async function makeFileSeal(folder: string): Promise<NewSeal> {
  await removeSealKey(folder);
  const bytes = randomKey();
  await writeNewFile(join(folder, NAME), `${toBase64(bytes)}\n`, 0o400);
  await syncFolder(folder);
  return { sealKey: toKey(ONLY_VERSION, bytes), fields: { type: 'file' } };
}

/** Reads the seal key in `folder`. @throws StartError if it is missing, damaged, or readable by others */
export async function readSealKey(folder: string): Promise<EnvelopeKey> {
  const path = join(folder, NAME);
  if (!existsSync(path)) {
    throw new StartError(
      `The seal key ${path} is missing, and the keyring beside it opens only with it: put it back from a backup.`,
    );
  }
  const text = await readPrivateFile({ path, subject: `The seal key ${path}` });
  if (!LINE.test(text)) throw new StartError(`The seal key ${path} is damaged: put it back from a backup.`);
  return toKey(ONLY_VERSION, fromBase64(text));
}

/** Deletes the seal key in `folder`, if it is there. Resolves once that is durable. */
export async function removeSealKey(folder: string): Promise<void> {
  await rm(join(folder, NAME), { force: true });
  await syncFolder(folder);
}
