import type { AuditResource } from '@cardea/contracts/audit-event';
import { SECOND_MS } from '@cardea/contracts/durations';
import type { KeyMaterial } from '@cardea/crypto/keys/key-material';
import type { KeyDerivation } from '@cardea/crypto/keys/derive-key';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { publicHalfOf } from '@cardea/crypto/keys/public-half';
import type { PublicHalf } from '@cardea/crypto/keys/public-half';
import type { VaultRow } from '../access-store.ts';
import type { KeyRow } from './key-store.ts';

/** Names a key in a request. */
export interface KeyRef {
  vault: string;
  name: string;
}

/** A key without its material. */
export interface Key {
  name: string;
  algorithm: KeyAlgorithm;
  /** Whether its material can be exported, wrapped. */
  exportable: boolean;
  /** How it derives a key for each context. Absent if it is used itself. */
  derivation?: KeyDerivation;
  /** Whether only public keys were imported: it verifies and encrypts. */
  publicOnly: boolean;
  currentVersion: number;
  minEncryptVersion: number;
  minDecryptVersion: number;
  deletionProtection: boolean;
  /** When it is destroyed, if it was deleted. */
  deleteAt?: Date;
  rotationPeriodSeconds?: number;
  /** When the schedule makes the next version. */
  nextRotationAt?: Date;
  createdAt: Date;
  updatedAt: Date;
}

export function toKey(row: KeyRow): Key {
  const { name, algorithm, current_version: currentVersion } = row;
  const { min_encrypt_version: minEncryptVersion, min_decrypt_version: minDecryptVersion } = row;
  return {
    name,
    algorithm,
    exportable: row.exportable === 1,
    ...(row.derivation === null ? {} : { derivation: row.derivation }),
    publicOnly: row.public_only === 1,
    currentVersion,
    minEncryptVersion,
    minDecryptVersion,
    deletionProtection: row.deletion_protection === 1,
    ...(row.delete_at === null ? {} : { deleteAt: new Date(row.delete_at) }),
    ...(row.rotation_period_ms === null ? {} : { rotationPeriodSeconds: row.rotation_period_ms / SECOND_MS }),
    ...(row.rotate_at === null ? {} : { nextRotationAt: new Date(row.rotate_at) }),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
  };
}

/** A key, with the public half of its newest version if it has one. */
export type KeyWithPublicHalf = Key & { publicHalf: PublicHalf | undefined };

/** The `kid` of a version. Names of keys hold no colon, so each version of each key of a vault has one of its own. */
export function kidOf(name: string, version: number): string {
  return `${name}:v${version}`;
}

/** A public key as text. */
export function toPublicHalf(
  { name, algorithm, version }: { name: string; algorithm: KeyAlgorithm; version: number },
  publicKey: KeyMaterial['publicKey'],
): PublicHalf | undefined {
  return publicKey && publicHalfOf(publicKey, { algorithm, kid: kidOf(name, version) });
}

/** How a record names a key. */
export function keyResource(vault: Pick<VaultRow, 'id' | 'name'>, { name }: { name: string }): AuditResource {
  // In the order of the canonical form, which is then faster to write: every use of a key is recorded.
  return { name, vault: vault.name, vaultId: vault.id };
}
