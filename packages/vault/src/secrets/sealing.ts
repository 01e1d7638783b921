import { secretContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import type { VaultContext } from '../context.ts';
import { openOrReread } from '../deks/open-or-reread.ts';
import type { Opening } from '../deks/opening.ts';
import { findCiphertext } from './sealed-version-store.ts';

/**
 * The version of a secret that a ciphertext belongs to (I3). It comes from the request: the vault that was authorized
 * and the name that was asked for. So a row that was moved, renamed or swapped in the database does not open.
 */
export interface VersionId {
  vault: { id: string; name: string };
  name: string;
  secretId: string;
  version: number;
}

/** The encoding of a value in an answer, and its content type. If one of them is edited in a row, it does not open. */
export interface ValueForm {
  encoding: 'utf8' | 'base64';
  contentType?: string | null | undefined;
}

/** A value as it is stored in its row. */
export interface SealedValue {
  ciphertext: Uint8Array;
  encoding: 'utf8' | 'base64';
  content_type: string | null;
}

/** Seals a value under a DEK of its vault. @throws DekNotLoaded */
export function sealVersion(
  ctx: Pick<VaultContext, 'deks'>,
  id: VersionId,
  { dekVersion, value }: { dekVersion: number; value: ValueForm & { bytes: Uint8Array } },
): Uint8Array {
  return seal(ctx.deks.get({ vaultId: id.vault.id, dekVersion }), value.bytes, contextOf(id, value));
}

/**
 * Opens a version in a transaction, into memory of its own.
 * @throws DekNotLoaded; IntegrityError if the ciphertext belongs to another version
 */
export function openVersionInTransaction(
  ctx: Pick<VaultContext, 'deks'>,
  id: VersionId,
  sealed: SealedValue,
): Uint8Array {
  const dekVersion = envelopeKeyVersion(sealed.ciphertext);
  return open(ctx.deks.get({ vaultId: id.vault.id, dekVersion }), sealed.ciphertext, contextOf(id, formOf(sealed)));
}

/**
 * Opens a version for a caller. Unwraps the DEK if it is not loaded.
 * @throws AppError `sealed`, `unavailable`, `rate_limited`; IntegrityError
 */
export function openVersion(opening: Opening, id: VersionId, sealed: SealedValue): Promise<Uint8Array> {
  const stored = { ciphertext: sealed.ciphertext, reread: () => findCiphertext(opening.db, id) };
  return openOrReread(stored, (ciphertext) => {
    const dek = { vaultId: id.vault.id, dekVersion: envelopeKeyVersion(ciphertext) };
    return opening.useDek(dek, (key) => open(key, ciphertext, contextOf(id, formOf(sealed))));
  });
}

/** Seals a version again: for another vault or name, under another DEK, or both. @throws as `openVersion` */
export function resealVersion(
  ctx: Pick<VaultContext, 'deks'>,
  { from, to, dekVersion }: { from: VersionId; to: VersionId; dekVersion: number },
  sealed: SealedValue,
): Uint8Array {
  const bytes = openVersionInTransaction(ctx, from, sealed);
  try {
    return sealVersion(ctx, to, { dekVersion, value: { bytes, ...formOf(sealed) } });
  } finally {
    bytes.fill(0);
  }
}

function formOf({ encoding, content_type: contentType }: SealedValue): ValueForm {
  return { encoding, contentType };
}

function contextOf({ vault, ...id }: VersionId, { encoding, contentType = null }: ValueForm): Uint8Array {
  return secretContext({ ...id, vaultId: vault.id, vaultName: vault.name, field: 'value', encoding, contentType });
}
