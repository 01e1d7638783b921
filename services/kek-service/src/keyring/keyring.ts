import type { AuditEvent } from '@cardea/contracts/audit-event';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { kekContext, rootKeyContext, systemContext } from '@cardea/crypto/context';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import { EnvelopeKey, IntegrityError, open, seal } from '@cardea/crypto/envelope';
import { constantTimeEqual, sha256 } from '@cardea/crypto/ids';
import type { KeyringDocument, SealEntry } from './format.ts';

/** The root key and every seal key are EnvelopeKeys of this version: there is one of each. */
export const ONLY_VERSION = 1;

const authenticationContext = systemContext('keyring', 'v1');

/** The KEKs, open in memory. */
export interface Keyring {
  readonly document: KeyringDocument;
  /** Wraps the KEKs and authenticates the document. */
  readonly rootKey: EnvelopeKey;
  /** The newest KEK: the only one that wraps. */
  newest(): EnvelopeKey;
  /** A KEK that may unwrap; undefined if its version is unknown or was destroyed. */
  find(version: number): EnvelopeKey | undefined;
  /** Overwrites every key; the keyring is of no use afterwards. */
  close(): void;
}

/**
 * Ties all of a keyring together under the root key: generation, seals, states and versions, not only the keys. It
 * cannot show that a whole keyring was replaced by an older one of the same root key: for that, see `KeyringStore`.
 */
export function authenticate(rootKey: EnvelopeKey, contents: Omit<KeyringDocument, 'mac'>): KeyringDocument {
  return { ...contents, mac: toBase64(seal(rootKey, digest(contents), authenticationContext)) };
}

/** What replaces the document of a keyring: its next generation. `records` are those that the log does not have yet. */
export function nextDocument(
  { document, rootKey }: Keyring,
  change: Partial<Pick<KeyringDocument, 'seals' | 'keks'>>,
  records: AuditEvent[],
): KeyringDocument {
  const { mac: _, ...contents } = document;
  return authenticate(rootKey, { ...contents, ...change, generation: document.generation + 1, records });
}

/**
 * Opens every KEK that is not destroyed. Keeps a copy of the root key until it is closed.
 * @throws IntegrityError for another root key or a keyring that was changed
 */
export function openKeyring(rootKey: EnvelopeKey, document: KeyringDocument): Keyring {
  const { mac, ...contents } = document;
  const authentic = open(rootKey, fromBase64(mac), authenticationContext);
  if (!constantTimeEqual(authentic, digest(contents))) throw new IntegrityError('the keyring was changed');

  const keys = new Map<number, EnvelopeKey>();
  for (const kek of document.keks) {
    if (kek.state !== 'destroyed') keys.set(kek.version, openKek(rootKey, kek.version, kek.wrappedKeyBase64));
  }
  const ownRootKey = toKey(ONLY_VERSION, rootKey.bytes());
  // The format promises that the last one is enabled.
  const newest = document.keks.at(-1)!.version;
  return {
    document,
    rootKey: ownRootKey,
    newest: () => keys.get(newest)!,
    find: (version) => keys.get(version),
    close() {
      for (const key of [ownRootKey, ...keys.values()]) key.destroy();
    },
  };
}

/** The root key wrapped for a seal, in base64. */
export function wrapRootKey(sealKey: EnvelopeKey, rootKey: EnvelopeKey, sealId: string): string {
  const bytes = rootKey.bytes();
  try {
    return toBase64(seal(sealKey, bytes, rootKeyContext({ sealId })));
  } finally {
    bytes.fill(0);
  }
}

/** The root key that a seal wraps. @throws IntegrityError for the key of another seal */
export function unwrapRootKey(sealKey: EnvelopeKey, entry: SealEntry): EnvelopeKey {
  const sealId = entry.id;
  return toKey(ONLY_VERSION, open(sealKey, fromBase64(entry.wrappedRootKeyBase64), rootKeyContext({ sealId })));
}

/** A key of 32 bytes, which are overwritten. */
export function toKey(version: number, bytes: Uint8Array): EnvelopeKey {
  try {
    return new EnvelopeKey(version, bytes);
  } finally {
    bytes.fill(0);
  }
}

function openKek(rootKey: EnvelopeKey, version: number, wrappedKeyBase64: string): EnvelopeKey {
  return toKey(version, open(rootKey, fromBase64(wrappedKeyBase64), kekContext({ kekVersion: version })));
}

function digest(contents: Omit<KeyringDocument, 'mac'>): Uint8Array {
  return sha256(canonicalize(contents));
}
