import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { IntegrityError } from '@cardea/crypto/envelope';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { PasswordCost } from '@cardea/crypto/password';
import { StartError } from '@cardea/process/config';
import { syncFolder } from '@cardea/process/durable-file';
import type { KekConfig } from './config.ts';
import { readKeyringFile, writeKeyringFile } from './keyring-file.ts';
import type { KeyringFile, SealDescription } from './keyring-format.ts';
import { createKeyring, openKeyring } from './keyring.ts';
import type { Keyring } from './keyring.ts';
import { makeRootKey, readRootKey } from './seals/file.ts';
import { checkPassphraseFile, deriveRootKey, makePassphraseSeal, readPassphraseFile } from './seals/passphrase.ts';

type SealConfig = Pick<KekConfig, 'dataDir' | 'seal' | 'passphraseFile'>;

/**
 * Looks whether the passphrase that this start needs is where the settings say, without reading it.
 * @throws StartError
 */
export async function refuseMissingPassphrase(config: SealConfig): Promise<void> {
  const { seal, passphraseFile } = config;
  if (seal !== 'passphrase') return;
  if (passphraseFile !== undefined) await checkPassphraseFile(passphraseFile);
  else if (!existsSync(keyringFolder(config))) throw needsPassphrase();
}

/**
 * Makes `<dataDir>/kek` if it is not there, with a keyring of one KEK, and says whether it did. The folder is built
 * under another name and renamed when all of it is durable, so an interrupted first start leaves none, and a folder
 * without a keyring has lost it.
 * @throws StartError if the seal's passphrase is missing or too short, or if there was a keyring before
 */
export async function makeKeyringFolder(config: SealConfig, cost: PasswordCost, createdAt: string): Promise<boolean> {
  const folder = keyringFolder(config);
  if (existsSync(folder)) return false;
  refuseLostKeyring(config);

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

function keyringFolder({ dataDir }: Pick<SealConfig, 'dataDir'>): string {
  return join(dataDir, 'kek');
}

// Other services begin to write only once there is a keyring: api-service opens its database, audit-service has entries.
// A new keyring beside what they wrote would open none of it, and stand where the old one must be put back.
function refuseLostKeyring({ dataDir }: SealConfig): void {
  if (!existsSync(join(dataDir, 'api', 'cardea.db')) && !hasSignedEntries(join(dataDir, 'audit', 'last-signed.json'))) {
    return;
  }
  throw new StartError(
    `The keyring folder ${keyringFolder({ dataDir })} is missing, and only it opens what lies beside it: put it back ` +
      'from a backup, or begin anew with an empty data folder.',
  );
}

function hasSignedEntries(path: string): boolean {
  if (!existsSync(path)) return false;
  // A first start that was interrupted has signed that there is no entry yet. What cannot be read was more than that.
  return !/"size": ?0\b/.test(readFileSync(path, 'utf8'));
}

async function makeSeal(
  { seal, passphraseFile }: SealConfig,
  folder: string,
  cost: PasswordCost,
): Promise<{ description: SealDescription; rootKey: EnvelopeKey }> {
  if (seal === 'file') return { description: { type: 'file' }, rootKey: await makeRootKey(folder) };
  if (passphraseFile === undefined) throw needsPassphrase();
  const passphrase = await readPassphraseFile(passphraseFile);
  const description = makePassphraseSeal(passphrase, cost);
  return { description, rootKey: await deriveRootKey(passphrase, description) };
}

function needsPassphrase(): StartError {
  return new StartError(
    'The first start with CARDEA_SEAL=passphrase needs the passphrase: put it into a file and name that file in ' +
      'CARDEA_SEAL_PASSPHRASE_FILE; later starts can do without it.',
  );
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
