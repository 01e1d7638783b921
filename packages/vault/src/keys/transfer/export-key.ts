import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { exportKeyMaterial, holdsPrivate, readPublicKey } from '@cardea/crypto/keys/key-material';
import { wrapKey } from '@cardea/crypto/keys/key-wrap';
import { authorize } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { beginOpening } from '../../deks/opening.ts';
import { keyNotThere } from '../../not-there.ts';
import { audited } from '../../record.ts';
import { noteWait } from '../../right.ts';
import { keyResource } from '../key.ts';
import type { KeyRef } from '../key.ts';
import { openKeyMaterial } from '../key-sealing.ts';
import { findKey } from '../key-store.ts';
import { findKeyVersion } from '../key-version-store.ts';
import { publicOnly, refuseDeleted } from '../usable-key.ts';

const RSA_BITS_MIN = 2_048;
const RSA_BITS_MAX = 8_192;

/** What is asked to leave. */
export interface KeyExport extends KeyRef {
  /** Who gets it. */
  publicKeyPem: string;
  /** The newest if it is undefined. */
  keyVersion?: number | undefined;
}

/**
 * Wraps the material of a version for somebody else. The material itself says whether the key was made exportable: it
 * opens in no other context. @throws AppError `not_found`, `access_denied`, `sealed`; `conflict` if it may not leave;
 * `invalid_request` for another kind of public key
 */
export async function exportKey(
  ctx: VaultContext,
  caller: Caller,
  { publicKeyPem, keyVersion, ...ref }: KeyExport,
): Promise<Audited<{ wrapped: Uint8Array; keyVersion: number }>> {
  const allowed = await authorize(ctx, caller, 'key.export', ref);
  const { vault, rule } = allowed;
  const key = await findKey(ctx.db, { vaultId: vault.id, name: ref.name });
  if (!key) throw keyNotThere();
  refuseDeleted(key);
  if (key.exportable !== 1)
    throw new AppError('conflict', 'the key was not made exportable', { rule: 'key-not-exportable' });
  const { id: keyId, algorithm, exportable, derivation, current_version } = key;
  const version = keyVersion ?? current_version;
  const row = await findKeyVersion(ctx.db, { keyId, version });
  if (!row) throw new AppError('not_found', 'the key has no such version', { rule: 'no-such-key-version' });
  if (row.ciphertext === null)
    throw new AppError('gone', `version ${version} was destroyed`, { rule: 'key-version-destroyed' });
  if (row.state !== 'enabled')
    throw new AppError('conflict', `version ${version} is disabled`, { rule: 'key-version-disabled' });
  const id = { vault, name: ref.name, keyId, version, algorithm, exportable, derivation };
  const material = await openKeyMaterial(beginOpening(ctx, caller), id, row.ciphertext);
  if (!holdsPrivate(material)) throw publicOnly();
  const bytes = exportKeyMaterial(material);
  try {
    noteWait(caller);
    const wrapped = await wrapKey(wrappingKeyOf(publicKeyPem), bytes);
    const resource = { ...keyResource(vault, ref), keyVersion: version };
    const shown = () => ({ wrapped, keyVersion: version });
    return await audited(ctx, caller, [allowed], { action: 'key.export', rule, resource }, shown);
  } finally {
    bytes.fill(0);
  }
}

function wrappingKeyOf(pem: string) {
  const key = readPublicKey(pem);
  const bits = key?.asymmetricKeyType === 'rsa' ? (key.asymmetricKeyDetails?.modulusLength ?? 0) : 0;
  if (key && bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && bits % 8 === 0) return key;
  const message = `publicKeyPem must be the PEM of a public RSA key of ${RSA_BITS_MIN} to ${RSA_BITS_MAX} bits`;
  throw new AppError('invalid_request', message, { rule: 'wrapping-key' });
}
