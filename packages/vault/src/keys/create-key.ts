import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { SECOND_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import { uuidv7 } from '@cardea/crypto/ids';
import type { KeyDerivation } from '@cardea/crypto/keys/derive-key';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { holdsPrivate } from '@cardea/crypto/keys/key-material';
import type { Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';
import { authorize, principalOf } from '../authorize.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import type { VaultContext } from '../context.ts';
import { refuseTooManyKeys } from '../quotas.ts';
import { addKeyVersion, withNewMaterial } from './add-key-version.ts';
import type { NewMaterial } from './add-key-version.ts';
import { keyResource, toKey, toPublicHalf } from './key.ts';
import type { KeyRef, KeyWithPublicHalf } from './key.ts';
import { insertKey } from './key-store.ts';
import type { KeyRow } from './key-store.ts';

/** What a key is made with. */
export interface NewKey extends KeyRef {
  algorithm: KeyAlgorithm;
  deletionProtection: boolean;
  exportable: boolean;
  /** Undefined if the key is used itself. Only symmetric algorithms have one, which the contract has checked. */
  derivation?: KeyDerivation | undefined;
  /** Undefined if the schedule makes no versions. */
  rotationPeriodSeconds?: number | undefined;
}

/** Makes a key with its first version. @throws AppError `not_found`, `access_denied`; `conflict` if the name is taken, or the vault is full */
export async function createKey(ctx: VaultContext, caller: Caller, asked: NewKey): Promise<Audited<KeyWithPublicHalf>> {
  const allowed = await authorize(ctx, caller, 'key.manage', asked);
  const { vault, rule } = allowed;
  return withNewMaterial(ctx, caller, asked.algorithm, (material) =>
    changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
      const [at, by] = [ctx.now().getTime(), principalOf(caller)];
      const { key, facts } = await addKey(ctx, tx, { vault, asked, material, at, by });
      const publicHalf = toPublicHalf({ ...key, version: key.current_version }, material.ready.publicKey);
      const { name: _name, vault: _vault, ...fields } = asked;
      const changes = changesBetween({}, fields);
      return { value: { ...toKey(key), publicHalf }, facts: { action: 'key.create', rule, changes, ...facts } };
    }),
  );
}

/** Adds a key with its first version. Returns what a record says of it. @throws DekNotLoaded; AppError `conflict` */
export async function addKey(
  ctx: VaultContext,
  tx: Transaction,
  { vault, asked, material, at, by }: { vault: VaultRow; asked: NewKey; material: NewMaterial; at: number; by: string },
): Promise<{ key: KeyRow; facts: Pick<EventFacts, 'resource' | 'dekVersion' | 'ciphertextSha256'> }> {
  const isPublic = !holdsPrivate(material.ready);
  const key = newKey(asked, { id: uuidv7(at), vaultId: vault.id, at, isPublic });
  await refuseTooManyKeys(ctx, tx, vault.id);
  if (!(await insertKey(tx, { ...key, created_by: by }))) throw nameTaken();
  const sealed = await addKeyVersion(ctx, tx, { vault, key, material, at, by });
  return { key, facts: { resource: { ...keyResource(vault, asked), keyVersion: key.current_version }, ...sealed } };
}

function newKey(
  { name, algorithm, exportable, derivation, deletionProtection, rotationPeriodSeconds }: NewKey,
  { id, vaultId, at, isPublic }: { id: string; vaultId: string; at: number; isPublic: boolean },
): KeyRow {
  const period = rotationPeriodSeconds === undefined ? null : rotationPeriodSeconds * SECOND_MS;
  return {
    id,
    vault_id: vaultId,
    name,
    algorithm,
    exportable: exportable ? 1 : 0,
    derivation: derivation ?? null,
    public_only: isPublic ? 1 : 0,
    current_version: 1,
    min_encrypt_version: 1,
    min_decrypt_version: 1,
    deletion_protection: deletionProtection ? 1 : 0,
    delete_at: null,
    rotation_period_ms: period,
    rotate_at: period === null ? null : at + period,
    created_at: at,
    updated_at: at,
  };
}

/** The refusal of a second key with a name. */
export function nameTaken(): AppError {
  return new AppError('conflict', 'a key with this name exists already', { rule: 'key-name-taken' });
}
