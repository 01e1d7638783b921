import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { IntegrityError } from '@cardea/crypto/envelope';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { PasswordCost } from '@cardea/crypto/password';
import { StartError } from '@cardea/http/config';
import type { KekConfig } from './config.ts';
import { syncFolder } from '@cardea/http/durable-file';
import { readKeyringFile, writeKeyringFile } from './keyring-file.ts';
import type { KeyringFile, SealDescription } from './keyring-format.ts';
import { createKeyring, openKeyring } from './keyring.ts';
import type { Keyring } from './keyring.ts';
import { makeRootKey, readRootKey } from './seals/file.ts';
import { deriveRootKey, makePassphraseSeal, readPassphraseFile } from './seals/passphrase.ts';

type SealConfig = Pick<KekConfig, 'dataDir' | 'seal' | 'passphraseFile'>;

/**
 * Makes `<dataDir>/kek` if it is not there, with a keyring of one KEK, and says whether it did. The folder is built
 * under another name and renamed when all of it is durable, so an interrupted first start leaves none, and a folder
 * without a keyring has lost it. @throws StartError if the seal's passphrase is missing or too short
 */
export async function makeKeyringFolder(config: SealConfig, cost: PasswordCost, createdAt: string): Promise<boolean> {
  const folder = keyringFolder(config);
  if (existsSync(folder)) return false;

  const building = `${folder}.new`;
  await rm(building, { recursive: true, force: true });
  await mkdir(building, { recursive: true, mode: 0o700 });
  const { description, rootKey } = await makeSeal(config, building, cost);
  try {
    await writeKeyringFile(building, createKeyring(rootKey, description, createdAt));
  } finally {
    rootKey.destroy();
  }
  await rename(building, folder);
  await syncFolder(config.dataDir);
  return true;
}

/**
 * Reads the keyring and opens it, unless its passphrase is yet to come: then there is no `keyring`.
 * @throws StartError if anything is missing, damaged, or does not belong together
 */
export async function openKeyringFolder(config: SealConfig): Promise<{ file: KeyringFile; keyring?: Keyring }> {
  const folder = keyringFolder(config);
  const file = await readKeyringFile(folder);
  refuseOtherSeal(config, file);
  if (file.seal.type === 'file') {
    const rootKey = await readRootKey(folder);
    return { file, keyring: openOrExplain(rootKey, file, rootKeyDoesNotOpen(folder)) };
  }
  if (config.passphraseFile === undefined) return { file };
  const rootKey = await deriveRootKey(await readPassphraseFile(config.passphraseFile), file.seal);
  return { file, keyring: openOrExplain(rootKey, file, passphraseDoesNotOpen(folder, config.passphraseFile)) };
}

function keyringFolder({ dataDir }: SealConfig): string {
  return join(dataDir, 'kek');
}

async function makeSeal(
  { seal, passphraseFile }: SealConfig,
  folder: string,
  cost: PasswordCost,
): Promise<{ description: SealDescription; rootKey: EnvelopeKey }> {
  if (seal === 'file') return { description: { type: 'file' }, rootKey: await makeRootKey(folder) };
  if (passphraseFile === undefined) {
    throw new StartError(
      'The first start with CARDEA_SEAL=passphrase needs the passphrase: put it into a file and name that file in ' +
        'CARDEA_SEAL_PASSPHRASE_FILE; later starts can do without it.',
    );
  }
  const passphrase = await readPassphraseFile(passphraseFile);
  const description = makePassphraseSeal(passphrase, cost);
  return { description, rootKey: await deriveRootKey(passphrase, description) };
}

function refuseOtherSeal({ seal }: SealConfig, file: KeyringFile): void {
  if (file.seal.type === seal) return;
  throw new StartError(
    `The keyring was made with the seal ${file.seal.type} and CARDEA_SEAL says ${seal}: set it back to ` +
      `${file.seal.type}; the variable chooses the seal of a new keyring and does not change that of one in use.`,
  );
}

function openOrExplain(rootKey: EnvelopeKey, file: KeyringFile, explanation: string): Keyring {
  try {
    return openKeyring(rootKey, file);
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new StartError(explanation, { cause });
  } finally {
    rootKey.destroy();
  }
}

function rootKeyDoesNotOpen(folder: string): string {
  return (
    `The root key does not open the keyring in ${folder}: one of the two was changed or belongs to another ` +
    'installation; put both back from the same backup.'
  );
}

// The root key is made from the passphrase, so a wrong one and a changed keyring look alike.
function passphraseDoesNotOpen(folder: string, passphraseFile: string): string {
  return (
    `The passphrase in ${passphraseFile} does not open the keyring in ${folder}: correct the passphrase, or, if it ` +
    'is right, put the keyring back from a backup, as it was changed.'
  );
}
