import type { Stats } from 'node:fs';
import { access, constants, open, stat } from 'node:fs/promises';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import { derivePassphraseKey } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import { StartError } from '@cardea/process/config';
import type { SealOf } from '../keyring/format.ts';
import { ONLY_VERSION, toKey } from '../keyring/keyring.ts';
import type { NewSeal } from './new-seal.ts';

const SALT_BYTES = 16;
const LENGTH_MIN = 12;
const LENGTH_MAX = 1024;

/** Makes a seal with a salt of its own. @throws RangeError for a passphrase under 12 or over 1,024 characters */
export async function makePassphraseSeal(passphrase: string, cost: PasswordCost): Promise<NewSeal> {
  if (passphrase.length < LENGTH_MIN || passphrase.length > LENGTH_MAX) {
    throw new RangeError(`a passphrase has ${LENGTH_MIN} to ${LENGTH_MAX} characters`);
  }
  const saltBase64 = toBase64(randomKey().subarray(0, SALT_BYTES));
  const fields = { type: 'passphrase', saltBase64, cost: { ...cost } } as const;
  return { sealKey: await derivePassphraseSealKey(passphrase, fields), fields };
}

/** The seal key that a passphrase stands for, by Argon2id (RFC 9106) at the cost written in the keyring. */
export async function derivePassphraseSealKey(
  passphrase: string,
  { saltBase64, cost }: Pick<SealOf<'passphrase'>, 'saltBase64' | 'cost'>,
): Promise<EnvelopeKey> {
  return toKey(ONLY_VERSION, await derivePassphraseKey(passphrase, fromBase64(saltBase64), cost));
}

/**
 * Reads the passphrase in a file, without the newline at its end.
 * @throws StartError if the file cannot be read, or if other users of the machine can read it
 */
export async function readPassphraseFile(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    refuseShared(path, await file.stat());
    return (await file.readFile('utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw explain(path, error);
  }
}

/** Checks the file without reading it, because a pipe can be read only once. @throws StartError as reading would */
export async function checkPassphraseFile(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK);
    refuseShared(path, await stat(path));
  } catch (error) {
    throw explain(path, error);
  }
}

function refuseShared(path: string, { mode }: Stats): void {
  if ((mode & 0o077) === 0) return;
  throw new StartError(
    `The file ${path} that CARDEA_SEAL_PASSPHRASE_FILE names can be read by other users of this machine: run ` +
      `chmod 400 ${path}.`,
  );
}

function explain(path: string, error: unknown): StartError {
  if (error instanceof StartError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return new StartError(`The file ${path} that CARDEA_SEAL_PASSPHRASE_FILE names cannot be read (${code}).`, {
    cause: error,
  });
}
