import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey, uuidv7 } from '@cardea/crypto/ids';
import type { PasswordCost } from '@cardea/crypto/password';
import { StartError } from '@cardea/process/config';
import { syncFolder } from '@cardea/process/durable-file';
import type { KekConfig } from './config.ts';
import { writeFirstKeyring } from './keyring/file-store.ts';
import type { KeyringDocument } from './keyring/format.ts';
import { newKek } from './keyring/kek-versions.ts';
import { ONLY_VERSION, authenticate, toKey } from './keyring/keyring.ts';
import { ownCaller, replacementEvent } from './records.ts';
import { makeFileSeal } from './seals/file.ts';
import { enterSeal } from './seals/new-seal.ts';
import type { NewSeal } from './seals/new-seal.ts';
import { makePassphraseSeal, readPassphraseFile } from './seals/passphrase.ts';

/** The settings that say where the keyring is and how it is sealed. */
export type SealConfig = Pick<KekConfig, 'dataDir' | 'seal' | 'passphraseFile' | 'token'>;

/** Looks whether the settings have the passphrase that a first start needs. @throws StartError */
export function refuseMissingPassphrase(config: SealConfig): void {
  const { seal, passphraseFile } = config;
  if (seal !== 'passphrase' || passphraseFile !== undefined) return;
  if (!existsSync(keyringFolder(config))) throw needsPassphrase();
}

/**
 * Makes `<dataDir>/kek` if it does not exist, with a keyring of one seal and one KEK, and says whether it did. The folder
 * is built under another name and renamed when all of it is durable, so an interrupted first start leaves none, and a
 * folder without a keyring has lost it. `now` is in milliseconds.
 * @throws StartError if the seal's passphrase is missing or too short, or if there was a keyring before
 */
export async function makeKeyringFolder(config: SealConfig, cost: PasswordCost, now: number): Promise<boolean> {
  const folder = keyringFolder(config);
  if (existsSync(folder)) return false;
  refuseLostKeyring(config);

  const building = `${folder}.new`;
  await rm(building, { recursive: true, force: true });
  await mkdir(building, { recursive: true, mode: 0o700 });
  const rootKey = toKey(ONLY_VERSION, randomKey());
  try {
    await writeFirstKeyring(building, firstDocument(rootKey, await makeSeal(config, building, cost), now));
  } finally {
    rootKey.destroy();
  }
  await rename(building, folder);
  await syncFolder(config.dataDir);
  return true;
}

/** The folder of the keyring and of what belongs to it. */
export function keyringFolder({ dataDir }: Pick<SealConfig, 'dataDir'>): string {
  return join(dataDir, 'kek');
}

function firstDocument(rootKey: EnvelopeKey, seal: NewSeal, now: number): KeyringDocument {
  const createdAt = new Date(now).toISOString();
  return authenticate(rootKey, {
    format: 1,
    generation: 1,
    seals: [enterSeal(seal, rootKey, { id: uuidv7(now), createdAt })],
    keks: [newKek(rootKey, { version: 1, createdAt })],
    records: [replacementEvent(ownCaller, 1, now)],
  });
}

// Other services begin to write only once there is a keyring: api-service opens its database, audit-service has entries.
// A new keyring beside what they wrote would open none of it, and stand where the old one must be put back.
function refuseLostKeyring({ dataDir }: SealConfig): void {
  if (!existsSync(join(dataDir, 'api', 'cardea.db')) && !hasSignedEntries(join(dataDir, 'audit', 'last-signed.json'))) {
    return;
  }
  throw new StartError(
    `The keyring folder ${keyringFolder({ dataDir })} is missing, and the data beside it does not open without it: put it back ` +
      'from a backup, or start again with an empty data folder.',
  );
}

function hasSignedEntries(path: string): boolean {
  if (!existsSync(path)) return false;
  // A first start that was interrupted has signed that there is no entry yet. What cannot be read was more than that.
  return !/"size": ?0\b/.test(readFileSync(path, 'utf8'));
}

async function makeSeal({ seal, passphraseFile }: SealConfig, folder: string, cost: PasswordCost): Promise<NewSeal> {
  if (seal !== 'passphrase') return makeFileSeal(folder);
  if (passphraseFile === undefined) throw needsPassphrase();
  try {
    return await makePassphraseSeal(await readPassphraseFile(passphraseFile), cost);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new StartError(`The passphrase in ${passphraseFile} is unsuitable: ${cause.message}.`, { cause });
  }
}

function needsPassphrase(): StartError {
  return new StartError(
    'The first start with CARDEA_SEAL=passphrase needs the passphrase: put it into a file and name that file in ' +
      'CARDEA_SEAL_PASSPHRASE_FILE; later starts can do without it.',
  );
}
