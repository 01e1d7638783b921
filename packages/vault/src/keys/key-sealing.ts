import { exportableKeyContext, keyMaterialContext } from '@cardea/crypto/context';
import { envelopeKeyVersion, open, seal } from '@cardea/crypto/envelope';
import type { KeyDerivation } from '@cardea/crypto/keys/derive-key';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { readKeyMaterial } from '@cardea/crypto/keys/key-material';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
import type { VaultContext } from '../context.ts';
import { openOrReread } from '../deks/open-or-reread.ts';
import type { Opening } from '../deks/opening.ts';
import { findKeyVersion } from './key-version-store.ts';

/**
 * The key version that a ciphertext belongs to (I3). The vault and the name come from the request, so a row that was
 * moved, renamed or swapped in the database does not open. The algorithm comes from the row: if it is edited, the row
 * does not open. The same goes for whether the key is exportable, and whether it derives keys.
 */
export interface KeyVersionId {
  vault: { id: string; name: string };
  name: string;
  keyId: string;
  version: number;
  algorithm: KeyAlgorithm;
  /** Whether the key was made exportable: 1, or 0 as most are. It comes from the row too. */
  exportable: 0 | 1;
  /** How the key derives others; null if it does not. It comes from the row too. */
  derivation: KeyDerivation | null;
}

/** Seals material under a DEK of its vault. @throws DekNotLoaded */
export function sealKeyMaterial(
  ctx: Pick<VaultContext, 'deks'>,
  id: KeyVersionId,
  { dekVersion, material }: { dekVersion: number; material: Uint8Array },
): Uint8Array {
  return seal(ctx.deks.get({ vaultId: id.vault.id, dekVersion }), material, contextOf(id));
}

/**
 * Opens material, ready to use. It stays in this process's memory for some minutes; see `KeyMaterials`.
 * @throws AppError `sealed`, `unavailable`; IntegrityError
 */
export function openKeyMaterial(opening: Opening, id: KeyVersionId, ciphertext: Uint8Array): Promise<KeyMaterial> {
  const context = contextOf(id);
  const reread = async () => (await findKeyVersion(opening.db, id))?.ciphertext;
  const material = async () => {
    const bytes = await openOrReread({ ciphertext, reread }, (stored) => {
      const dek = { vaultId: id.vault.id, dekVersion: envelopeKeyVersion(stored) };
      return opening.useDek(dek, (key) => open(key, stored, context));
    });
    try {
      return readKeyMaterial(id.algorithm, bytes);
    } finally {
      bytes.fill(0);
    }
  };
  return opening.keyMaterials.use({ vaultId: id.vault.id, context, ciphertext }, material, opening.by);
}

/** Seals material again under another DEK of its vault. @throws DekNotLoaded; IntegrityError */
export function resealKeyMaterial(
  ctx: Pick<VaultContext, 'deks'>,
  id: KeyVersionId,
  { ciphertext, dekVersion }: { ciphertext: Uint8Array; dekVersion: number },
): Uint8Array {
  const from = ctx.deks.get({ vaultId: id.vault.id, dekVersion: envelopeKeyVersion(ciphertext) });
  const material = open(from, ciphertext, contextOf(id));
  try {
    return sealKeyMaterial(ctx, id, { dekVersion, material });
  } finally {
    material.fill(0);
  }
}

function contextOf({ vault, exportable, ...id }: KeyVersionId): Uint8Array {
  const ref = { ...id, vaultId: vault.id, vaultName: vault.name };
  return exportable === 1 ? exportableKeyContext(ref) : keyMaterialContext(ref);
}
