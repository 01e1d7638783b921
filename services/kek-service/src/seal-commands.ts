import type { AuditEvent } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { IntegrityError } from '@cardea/crypto/envelope';
import { uuidv7 } from '@cardea/crypto/ids';
import { passphraseCost } from '@cardea/crypto/password';
import { StartError } from '@cardea/process/config';
import { keyringFolder } from './first-keyring.ts';
import type { SealConfig } from './first-keyring.ts';
import { acceptKeyring, createFileStore } from './keyring/file-store.ts';
import { recordsOf } from './keyring/format.ts';
import type { KeyringDocument, SealEntry } from './keyring/format.ts';
import type { Keyring } from './keyring/keyring.ts';
import { additionOf, removalOf, toSeal } from './manage-seals.ts';
import { nextGeneration } from './next-generation.ts';
import type { Change } from './next-generation.ts';
import { openAtStart, openBySealKey } from './open-at-start.ts';
import { makeFileSeal } from './seals/file.ts';
import { enterSeal } from './seals/new-seal.ts';
import type { NewSeal } from './seals/new-seal.ts';
import { derivePassphraseSealKey, makePassphraseSeal } from './seals/passphrase.ts';
import { combineShares, findShare, makeShamirSeal } from './seals/shamir.ts';
import { parseShare, setIdOf } from './seals/share-text.ts';

/** What a command works with. */
export interface Offline {
  config: SealConfig;
  /** What the operator typed: shares, or a passphrase, one a line. Read only if it is needed. */
  typed(): Promise<string[]>;
  /** Shows a line that is not part of the result. */
  tell(line: string): void;
  now: number;
}

const operator: Caller = { actor: { id: 'operator', type: 'service' }, source: {}, requestId: 'offline' };

/** One line for each seal of the keyring. */
export async function describeSeals({ config }: Offline): Promise<string[]> {
  const { document } = await storeOf(config).read();
  return [`generation ${document.generation}`, ...document.seals.map(describe)];
}

/** Adds a seal by shares, and returns them: they are kept nowhere. @throws StartError */
export async function generateShares(
  offline: Offline,
  split: { shares: number; threshold: number },
): Promise<string[]> {
  let shareTexts: string[] = [];
  await addSeal(offline, async (id) => {
    const made = await makeShamirSeal(id, split);
    ({ shareTexts } = made);
    return made;
  });
  return shareTexts;
}

/** Adds a seal by a file, whose key is then in the folder of the keyring. @throws StartError */
export async function addFileSeal(offline: Offline): Promise<void> {
  await addSeal(offline, (_id, { seals }) => {
    if (seals.some(({ type }) => type === 'file')) throw new StartError('The keyring has a seal by a file already.');
    return makeFileSeal(keyringFolder(offline.config));
  });
}

/**
 * Puts a seal by the second passphrase in the place of every one that the first passphrase opens. The new one is proven
 * before it is written, and the old ones are removed after it: a crash leaves both.
 * @throws StartError
 */
export async function changePassphrase({ config, now }: Offline, current: string, next: string): Promise<void> {
  // Compared as they are hashed.
  if (current.normalize('NFKC') === next.normalize('NFKC')) {
    throw new StartError('Nothing was changed: the new passphrase is the current one.');
  }
  const store = storeOf(config);
  const { document, isRecorded } = await store.read();
  const old = await opensBy(document, current);
  const [first] = old;
  if (!first) throw wrongPassphrase();
  const id = uuidv7(now);
  const made = await newPassphraseSeal(next);
  const entry = enterSeal(made, first.keyring.rootKey, { id, createdAt: new Date(now).toISOString() });

  const addition = { seals: [...document.seals, entry], facts: additionOf(toSeal(entry)) };
  const added = nextOffline(first.keyring, addition, { waiting: isRecorded ? [] : recordsOf(document), now });
  for (const { keyring } of old) keyring.close();
  const generations = [added];
  for (const { entry: removed } of old)
    generations.push(await removal(generations.at(-1)!, removed, { next, entry, now }));
  for (const generation of generations) await store.replace(generation.generation - 1, generation);
}

/** The generation without a seal. The new passphrase opens the one before it by the new seal, which proves that seal. */
async function removal(
  from: KeyringDocument,
  removed: SealEntry,
  { next, entry, now }: { next: string; entry: SealEntry; now: number },
): Promise<KeyringDocument> {
  // Another seal may have the same passphrase, which proves nothing about the new one.
  const [proven] = await opensBy(from, next, [entry]);
  if (!proven) throw wrongPassphrase();
  const seals = from.seals.filter(({ id }) => id !== removed.id);
  const facts = removalOf(toSeal(removed));
  try {
    return nextOffline(proven.keyring, { seals, facts }, { waiting: recordsOf(from), now });
  } finally {
    proven.keyring.close();
  }
}

async function newPassphraseSeal(passphrase: string): Promise<NewSeal> {
  try {
    return await makePassphraseSeal(passphrase, passphraseCost);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new StartError(`Nothing was changed: ${cause.message}.`, { cause });
  }
}

/** Says what a share is, and whether the keyring knows it as genuine. @throws StartError if it is not */
export async function checkShare({ config, typed }: Offline): Promise<string[]> {
  const [text = ''] = await typed();
  try {
    const { setId, index, threshold } = parseShare(text);
    const { document } = await storeOf(config).read();
    const { entry } = findShare(document, text);
    const of = `share ${index} of set ${setId}, of which any ${threshold} open the seal`;
    return [`The share is genuine: ${of} ${entry.id} (${entry.shareHashesBase64.length} shares).`];
  } catch (cause) {
    if (!(cause instanceof RangeError || cause instanceof AppError)) throw cause;
    throw new StartError(`The share is wrong: ${cause.message}.`, { cause });
  }
}

/** Takes the keyring that is in the folder as the newest, for an operator who had to put back an older one. */
export async function acceptAsNewest({ config }: Offline): Promise<string[]> {
  const { generation } = await acceptKeyring(keyringFolder(config));
  return [`The keyring of generation ${generation} counts as the newest now.`];
}

const storeOf = (config: SealConfig) => createFileStore(keyringFolder(config));

function describe(entry: SealEntry): string {
  const { id, type, createdAt, shares, threshold, tokenLabel, keyLabel } = toSeal(entry);
  if (type === 'shamir') return `${id} ${createdAt} shamir ${threshold} of ${shares}, set ${setIdOf(id)}`;
  if (type === 'pkcs11') return `${id} ${createdAt} pkcs11 token ${tokenLabel}, key ${keyLabel}`;
  return `${id} ${createdAt} ${type}`;
}

async function addSeal(
  offline: Offline,
  make: (id: string, document: KeyringDocument) => Promise<NewSeal>,
): Promise<void> {
  const { config, now } = offline;
  const store = storeOf(config);
  const { document, isRecorded } = await store.read();
  const keyring = await openOffline(offline, document);
  try {
    const id = uuidv7(now);
    const entry = enterSeal(await make(id, document), keyring.rootKey, { id, createdAt: new Date(now).toISOString() });
    const waiting = isRecorded ? [] : recordsOf(document);
    const change = { seals: [...document.seals, entry], facts: additionOf(toSeal(entry)) };
    await store.replace(document.generation, nextOffline(keyring, change, { waiting, now }));
  } finally {
    keyring.close();
  }
}

/** Each change leaves records, which only a running Cardea sends. @throws StartError if too many wait */
function nextOffline(
  keyring: Keyring,
  change: Change,
  records: { waiting: AuditEvent[]; now: number },
): KeyringDocument {
  try {
    return nextGeneration(keyring, change, { caller: operator, ...records });
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause;
    const message = `The keyring was not changed: ${cause.message}. Start Cardea, which sends them, and try again.`;
    throw new StartError(message, { cause });
  }
}

/** By the seal key, the token or the passphrase file of the settings, or else by what the operator types. */
async function openOffline({ config, typed, tell }: Offline, document: KeyringDocument): Promise<Keyring> {
  const opened = await openAtStart(config, document, ({ message }) => tell(message));
  return opened.keyring ?? openByTyped(document, await typed());
}

async function openByTyped(document: KeyringDocument, lines: string[]): Promise<Keyring> {
  const [first = ''] = lines;
  try {
    return first.trim().toLowerCase().startsWith('cs1-')
      ? await openByShares(document, lines)
      : await openByPassphrase(document, first);
  } catch (cause) {
    if (!(cause instanceof AppError)) throw cause;
    throw new StartError(`The keyring does not open: ${cause.message}.`, { cause });
  }
}

async function openByShares(document: KeyringDocument, lines: string[]): Promise<Keyring> {
  const found = lines.map((line) => findShare(document, line));
  const { entry } = found[0]!;
  const shares = new Map(found.filter((one) => one.entry === entry).map(({ share }) => [share.index, share.bytes]));
  if (shares.size < entry.threshold) throw new StartError(`The seal needs ${entry.threshold} of its shares.`);
  return openBySealKey(await combineShares([...shares.values()]), entry, document);
}

async function openByPassphrase(document: KeyringDocument, passphrase: string): Promise<Keyring> {
  const [first, ...others] = await opensBy(document, passphrase);
  for (const { keyring } of others) keyring.close();
  if (!first) throw wrongPassphrase();
  return first.keyring;
}

/** Every seal that a passphrase opens, with the keyring. Several may have the same one. */
async function opensBy(
  document: KeyringDocument,
  passphrase: string,
  seals = document.seals,
): Promise<{ keyring: Keyring; entry: SealEntry }[]> {
  const opened: { keyring: Keyring; entry: SealEntry }[] = [];
  for (const entry of seals) {
    if (entry.type !== 'passphrase') continue;
    try {
      const sealKey = await derivePassphraseSealKey(passphrase, entry);
      opened.push({ keyring: openBySealKey(sealKey, entry, document), entry });
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
    }
  }
  return opened;
}

function wrongPassphrase(): StartError {
  return new StartError('The keyring does not open: the passphrase is wrong.');
}
