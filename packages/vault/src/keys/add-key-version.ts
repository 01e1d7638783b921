import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { sha256Hex } from '@cardea/crypto/ids';
import { isOf } from '@cardea/crypto/keys/key-algorithms';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { generateKeyMaterial, readKeyMaterial } from '@cardea/crypto/keys/key-material';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
import type { Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';
import type { VaultContext } from '../context.ts';
import { useNewestDek } from '../deks/dek-store.ts';
import { sealKeyMaterial } from './key-sealing.ts';
import type { KeyRow } from './key-store.ts';
import { insertKeyVersion } from './key-version-store.ts';

/** New material, as it is stored and ready to use. */
export interface NewMaterial {
  stored: Uint8Array;
  ready: KeyMaterial;
}

/**
 * Makes material for `work`, before any transaction begins: RSA keeps a thread busy for up to some seconds, so it is slow
 * work. Overwrites the material after that. @throws what `SlowWork` throws
 */
export async function withNewMaterial<T>(
  ctx: Pick<VaultContext, 'slowWork'>,
  caller: Caller,
  algorithm: KeyAlgorithm,
  work: (material: NewMaterial) => Promise<T>,
): Promise<T> {
  const generate = () => generateKeyMaterial(algorithm);
  const stored = await (isOf('rsa', algorithm) ? ctx.slowWork.generate(callerKey(caller), generate) : generate());
  try {
    return await work({ stored, ready: readKeyMaterial(algorithm, stored) });
  } finally {
    stored.fill(0);
  }
}

/**
 * Adds the newest version of a key, which is locked or new, under the newest DEK of the vault. Returns what a record says
 * of it. @throws DekNotLoaded
 */
export async function addKeyVersion(
  ctx: VaultContext,
  tx: Transaction,
  {
    vault,
    key,
    material,
    at,
    by,
  }: { vault: Pick<VaultRow, 'id' | 'name'>; key: KeyRow; material: NewMaterial; at: number; by: string },
): Promise<Pick<EventFacts, 'dekVersion' | 'ciphertextSha256'>> {
  const dekVersion = await useNewestDek(tx, vault.id, at);
  const { id: keyId, name, algorithm, exportable, derivation, current_version: version } = key;
  const id = { vault, name, keyId, version, algorithm, exportable, derivation };
  const ciphertext = sealKeyMaterial(ctx, id, { dekVersion, material: material.stored });
  await insertKeyVersion(tx, { ...id, vaultId: vault.id, ciphertext, dekVersion, createdAt: at, createdBy: by });
  return { dekVersion, ciphertextSha256: sha256Hex(ciphertext) };
}
