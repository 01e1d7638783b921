import { IntegrityError } from '@cardea/crypto/envelope';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { StartError } from '@cardea/process/config';
import { keyringFolder } from './first-keyring.ts';
import type { SealConfig } from './first-keyring.ts';
import type { KeyringDocument, SealEntry, SealOf } from './keyring/format.ts';
import { openKeyring, unwrapRootKey } from './keyring/keyring.ts';
import type { Keyring } from './keyring/keyring.ts';
import { readSealKey } from './seals/file.ts';
import { derivePassphraseSealKey, readPassphraseFile } from './seals/passphrase.ts';
import { TokenProblem, openTokenSeal } from './seals/token.ts';

/** A keyring, and the seal that opened it. */
export interface Opened {
  keyring: Keyring;
  sealId: string;
}

/** What a start found out: the open keyring, if a seal opened it, and every seal that would open it. */
export interface OpenedAtStart {
  keyring: Keyring | undefined;
  provenSealIds: string[];
}

/**
 * Opens the keyring by the first of its seals that needs no operator, and tries the others of these as well: one that
 * fails shows while there is another. `onFailure` is told of each that should open it and does not. Without a keyring in
 * the answer an operator must open it.
 * @throws StartError if no seal opens the keyring and none waits for an operator; if CARDEA_SEAL says another seal than
 * the keyring has
 */
export async function openAtStart(
  config: SealConfig,
  document: KeyringDocument,
  onFailure: (error: StartError) => void,
): Promise<OpenedAtStart> {
  refuseOtherSeal(config, document);
  const opened: Opened[] = [];
  const failures: StartError[] = [];
  for (const entry of document.seals) {
    try {
      const keyring = await openBy(config, document, entry);
      if (keyring) opened.push({ keyring, sealId: entry.id });
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      failures.push(error);
    }
  }
  const isLost = failures.length === document.seals.length;
  if (isLost) throw failures[0]!;
  failures.forEach(onFailure);
  const [first, ...others] = opened;
  for (const { keyring } of others) keyring.close();
  return { keyring: first?.keyring, provenSealIds: opened.map(({ sealId }) => sealId) };
}

/**
 * Opens a keyring by the key of one of its seals, and overwrites that key.
 * @throws IntegrityError for another key or a keyring that was changed
 */
export function openBySealKey(sealKey: EnvelopeKey, entry: SealEntry, document: KeyringDocument): Keyring {
  try {
    const rootKey = unwrapRootKey(sealKey, entry);
    try {
      return openKeyring(rootKey, document);
    } finally {
      rootKey.destroy();
    }
  } finally {
    sealKey.destroy();
  }
}

function refuseOtherSeal({ seal }: SealConfig, { seals }: KeyringDocument): void {
  if (seal === undefined || seals.some(({ type }) => type === seal)) return;
  throw new StartError(
    `CARDEA_SEAL says ${seal}, and the keyring has no such seal: unset it. The variable chooses the seal of a new ` +
      'keyring; docs/unseal.md says how to add and remove seals.',
  );
}

/** Undefined for a seal that an operator opens. */
async function openBy(config: SealConfig, document: KeyringDocument, entry: SealEntry): Promise<Keyring | undefined> {
  if (entry.type === 'file') return openByFile(config, document, entry);
  if (entry.type === 'passphrase') return openByPassphraseFile(config, document, entry);
  if (entry.type === 'pkcs11') return openByToken(config, document, entry);
  return undefined;
}

async function openByFile(config: SealConfig, document: KeyringDocument, entry: SealEntry): Promise<Keyring> {
  const folder = keyringFolder(config);
  const sealKey = await readSealKey(folder);
  return openOrExplain(sealKey, entry, document, sealKeyDoesNotOpen(folder));
}

async function openByPassphraseFile(
  config: SealConfig,
  document: KeyringDocument,
  entry: SealOf<'passphrase'>,
): Promise<Keyring | undefined> {
  const { passphraseFile } = config;
  if (passphraseFile === undefined) return undefined;
  const sealKey = await derivePassphraseSealKey(await readPassphraseFile(passphraseFile), entry);
  return openOrExplain(sealKey, entry, document, passphraseDoesNotOpen(keyringFolder(config), passphraseFile));
}

async function openByToken(config: SealConfig, document: KeyringDocument, entry: SealOf<'pkcs11'>): Promise<Keyring> {
  const { tokenLabel, keyLabel } = entry;
  const what = `The token ${tokenLabel} does not open the keyring`;
  if (!config.token) {
    throw new StartError(`${what}: set CARDEA_PKCS11_MODULE and CARDEA_PKCS11_PIN_FILE.`);
  }
  try {
    return openBySealKey(await openTokenSeal(config.token, entry), entry, document);
  } catch (cause) {
    if (cause instanceof TokenProblem) throw new StartError(`${what}: ${cause.message}.`, { cause });
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new StartError(`${what}: its key ${keyLabel} is another one, or the keyring was changed.`, { cause });
  }
}

function openOrExplain(
  sealKey: EnvelopeKey,
  entry: SealEntry,
  document: KeyringDocument,
  explanation: string,
): Keyring {
  try {
    return openBySealKey(sealKey, entry, document);
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new StartError(explanation, { cause });
  }
}

function sealKeyDoesNotOpen(folder: string): string {
  return (
    `The seal key does not open the keyring in ${folder}: one of the two was changed or belongs to another ` +
    'installation; put both back from the same backup.'
  );
}

function passphraseDoesNotOpen(folder: string, passphraseFile: string): string {
  return (
    `The passphrase in ${passphraseFile} does not open the keyring in ${folder}: correct the passphrase, or, if it ` +
    'is right, put the keyring back from a backup, as it was changed.'
  );
}
