import { AppError } from '@cardea/contracts/errors';
import type { KekVersion } from '@cardea/contracts/kek-api';
import { kekContext } from '@cardea/crypto/context';
import { toBase64 } from '@cardea/crypto/encoding';
import { seal } from '@cardea/crypto/envelope';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { randomKey } from '@cardea/crypto/ids';
import type { KekEntry, KeyringDocument } from './format.ts';

/** A new KEK under the root key, enabled. `createdAt` is RFC 3339 UTC. */
export function newKek(
  rootKey: EnvelopeKey,
  kek: { version: number; createdAt: string; requestId?: string },
): KekEntry {
  const bytes = randomKey();
  try {
    const wrapped = seal(rootKey, bytes, kekContext({ kekVersion: kek.version }));
    return { ...kek, state: 'enabled', wrappedKeyBase64: toBase64(wrapped) };
  } finally {
    bytes.fill(0);
  }
}

/** The KEKs with a new one at the end; the one that was enabled only unwraps from then on. */
export function withNewKek(keks: KekEntry[], kek: KekEntry): KekEntry[] {
  const older = keks.map((one) => (one.state === 'enabled' ? { ...one, state: 'decrypt-only' as const } : one));
  return [...older, kek];
}

/**
 * The KEKs with one of them destroyed; undefined if it is already.
 * @throws AppError `conflict` for the newest, `not_found` for one that never existed
 */
export function withoutKek(keks: KekEntry[], version: number): KekEntry[] | undefined {
  const found = keks.find((kek) => kek.version === version);
  if (!found) throw new AppError('not_found', `KEK version ${version} does not exist`);
  if (found.state === 'enabled') {
    throw new AppError('conflict', `KEK version ${version} is the newest, which wraps: rotate the KEK first`);
  }
  if (found.state === 'destroyed') return undefined;
  const { wrappedKeyBase64: _, ...rest } = found;
  return keks.map((kek) => (kek === found ? { ...rest, state: 'destroyed' as const } : kek));
}

/** What may be told of the KEKs, the oldest first. */
export function kekVersions({ keks }: KeyringDocument): KekVersion[] {
  return keks.map(({ version, state, createdAt, requestId = null }) => ({ version, state, createdAt, requestId }));
}
