import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import { AppError } from '@cardea/contracts/errors';
import { canonicalize } from '@cardea/crypto/canonical-json';
import { dekContext, kekContext, systemContext } from '@cardea/crypto/context';
import { fromBase64, toBase64 } from '@cardea/crypto/encoding';
import { EnvelopeKey, IntegrityError, open, seal } from '@cardea/crypto/envelope';
import { constantTimeEqual, randomKey, sha256 } from '@cardea/crypto/ids';
import type { KekEntry, KeyringFile, SealDescription } from './keyring-format.ts';

/** The root key is an EnvelopeKey of this version: there is one, and another seal means another keyring. */
export const ROOT_KEY_VERSION = 1;

const DEK_BYTES = 32;
const authenticationContext = systemContext('keyring', 'v1');

/** The KEKs, open in memory. */
export interface Keyring {
  /** The newest enabled KEK: the only one that wraps. */
  newest(): EnvelopeKey;
  /** A KEK that may unwrap; undefined if its version is unknown or was destroyed. */
  find(version: number): EnvelopeKey | undefined;
  states(): { version: number; state: KekEntry['state'] }[];
  /** Overwrites every KEK; the keyring is of no use afterwards. */
  close(): void;
}

/** A keyring of one KEK, as it is stored. `createdAt` is RFC 3339 UTC. */
export function createKeyring(rootKey: EnvelopeKey, description: SealDescription, createdAt: string): KeyringFile {
  const kek = randomKey();
  try {
    const wrapped = seal(rootKey, kek, kekContext({ kekVersion: 1 }));
    const entry: KekEntry = { version: 1, state: 'enabled', createdAt, wrappedKeyBase64: toBase64(wrapped) };
    return authenticateKeyring(rootKey, { format: 1, seal: description, keks: [entry] });
  } finally {
    kek.fill(0);
  }
}

/**
 * Ties all of a keyring together under the root key: states, versions and the seal's parameters, not only the
 * keys. What it cannot show is that a whole keyring was replaced by an older one of the same root key.
 */
export function authenticateKeyring(rootKey: EnvelopeKey, contents: Omit<KeyringFile, 'mac'>): KeyringFile {
  return { ...contents, mac: toBase64(seal(rootKey, digest(contents), authenticationContext)) };
}

/** Opens every KEK that is not destroyed. @throws IntegrityError for another root key or a keyring that was changed. */
export function openKeyring(rootKey: EnvelopeKey, file: KeyringFile): Keyring {
  const { mac, ...contents } = file;
  const authentic = open(rootKey, fromBase64(mac), authenticationContext);
  if (!constantTimeEqual(authentic, digest(contents))) throw new IntegrityError('the keyring was changed');

  const keys = new Map<number, EnvelopeKey>();
  for (const kek of file.keks) {
    if (kek.state !== 'destroyed') keys.set(kek.version, openKek(rootKey, kek.version, kek.wrappedKeyBase64));
  }
  // The format promises ascending versions and an enabled one among them.
  const newest = file.keks.findLast((kek) => kek.state === 'enabled')!.version;
  return {
    newest: () => keys.get(newest)!,
    find: (version) => keys.get(version),
    states: () => file.keks.map(({ version, state }) => ({ version, state })),
    close: () => keys.forEach((key) => key.destroy()),
  };
}

/** Wraps a DEK of 32 bytes under the newest KEK. @throws AppError `invalid_request` for another length */
export function wrapDek(keyring: Keyring, ref: DekRef, dek: Uint8Array): WrappedDek {
  if (dek.length !== DEK_BYTES) throw new AppError('invalid_request', `a DEK has ${DEK_BYTES} bytes`);
  const kek = keyring.newest();
  return { bytes: seal(kek, dek, dekContext({ ...ref, kekVersion: kek.version })), kekVersion: kek.version };
}

/**
 * The DEK, in memory of its own that the caller overwrites.
 * @throws AppError `access_denied` if it is not the one that `ref` and `kekVersion` name, `invalid_request` if there
 * is no such KEK (any more)
 */
export function unwrapDek(keyring: Keyring, ref: DekRef, { bytes, kekVersion }: WrappedDek): Uint8Array {
  const kek = keyring.find(kekVersion);
  if (!kek) throw new AppError('invalid_request', `KEK version ${kekVersion} is unknown or was destroyed`);
  try {
    // `open` also refuses an envelope whose header names another version than the KEK has.
    return open(kek, bytes, dekContext({ ...ref, kekVersion }));
  } catch (cause) {
    if (!(cause instanceof IntegrityError)) throw cause;
    throw new AppError('access_denied', 'the wrapped DEK is not the one that is named', {
      cause,
      rule: 'dek-context',
      suspicious: 'wrapped_dek_mismatch',
    });
  }
}

/** Wraps a wrapped DEK under the newest KEK. The DEK itself never leaves this function. @throws as `unwrapDek` */
export function rewrapDek(keyring: Keyring, ref: DekRef, wrapped: WrappedDek): WrappedDek {
  const dek = unwrapDek(keyring, ref, wrapped);
  try {
    return wrapDek(keyring, ref, dek);
  } finally {
    dek.fill(0);
  }
}

function openKek(rootKey: EnvelopeKey, version: number, wrappedKeyBase64: string): EnvelopeKey {
  const bytes = open(rootKey, fromBase64(wrappedKeyBase64), kekContext({ kekVersion: version }));
  try {
    return new EnvelopeKey(version, bytes);
  } finally {
    bytes.fill(0);
  }
}

function digest(contents: Omit<KeyringFile, 'mac'>): Uint8Array {
  return sha256(canonicalize(contents));
}
