import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import { derivePassphraseKey } from '@cardea/crypto/password';
import type { PasswordCost } from '@cardea/crypto/password';
import type { SealOf } from '../keyring/format.ts';
import { ONLY_VERSION, toKey } from '../keyring/keyring.ts';
import type { NewSeal } from './new-seal.ts';
import { namedBy, readPrivateFile } from '@cardea/process/private-file';

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

const VARIABLE = 'CARDEA_SEAL_PASSPHRASE_FILE';

/**
 * Reads the passphrase in a file, without the newline at its end.
 * @throws StartError if the file cannot be read, or if other users of the machine can read it
 */
export function readPassphraseFile(path: string): Promise<string> {
  return readPrivateFile(namedBy(VARIABLE, path));
}
