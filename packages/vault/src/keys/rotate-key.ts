import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { KEY_VERSIONS_MAX } from '@cardea/contracts/keys/key-shapes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import type { VaultRow } from '../access-store.ts';
import { authorize, principalOf } from '../authorize.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import type { VaultContext } from '../context.ts';
import { keyNotThere } from '../not-there.ts';
import { addKeyVersion, withNewMaterial } from './add-key-version.ts';
import type { NewMaterial } from './add-key-version.ts';
import { keyResource, toKey, toPublicHalf } from './key.ts';
import type { KeyRef, KeyWithPublicHalf } from './key.ts';
import { findKey, setNewestVersion } from './key-store.ts';
import type { KeyRow } from './key-store.ts';
import { lockUsableKey, publicOnly, refuseDeleted } from './usable-key.ts';

/**
 * Adds a version to a key. From the commit on, it encrypts and signs. Older versions go on to decrypt and verify.
 * @throws AppError `not_found`, `access_denied`; `conflict` if the key was deleted, or has as many versions as one may have
 */
export async function rotateKey(ctx: VaultContext, caller: Caller, ref: KeyRef): Promise<Audited<KeyWithPublicHalf>> {
  const allowed = await authorize(ctx, caller, 'key.rotate', ref);
  const { vault, rule } = allowed;
  const known = await findKey(ctx.db, { vaultId: vault.id, name: ref.name });
  if (!known) throw keyNotThere();
  refuseDeleted(known);
  if (known.public_only === 1) throw publicOnly();
  return withNewMaterial(ctx, caller, known.algorithm, (material) =>
    changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
      const before = await lockUsableKey(tx, { vaultId: vault.id, name: ref.name });
      // A key that was made meanwhile under the same name may have another algorithm.
      if (before.id !== known.id) throw keyNotThere();
      const [at, by] = [ctx.now().getTime(), principalOf(caller)];
      const { key, facts } = await addNewestVersion(ctx, tx, { vault, before, material, at, by });
      const publicHalf = toPublicHalf({ ...key, version: key.current_version }, material.ready.publicKey);
      return { value: { ...toKey(key), publicHalf }, facts: { ...facts, rule } };
    }),
  );
}

/** Adds the next version of a key, which is locked. Its period begins anew. @throws DekNotLoaded; AppError `conflict` */
export async function addNewestVersion(
  ctx: VaultContext,
  tx: Transaction,
  { vault, before, material, at, by }: NextVersion,
): Promise<{ key: KeyRow; facts: EventFacts }> {
  if (before.current_version >= KEY_VERSIONS_MAX) throw tooManyVersions();
  const rotate_at = before.rotation_period_ms === null ? null : at + before.rotation_period_ms;
  const key = { ...before, current_version: before.current_version + 1, rotate_at, updated_at: at };
  await setNewestVersion(tx, key);
  const sealed = await addKeyVersion(ctx, tx, { vault, key, material, at, by });
  const resource = { ...keyResource(vault, key), keyVersion: key.current_version };
  return { key, facts: { action: 'key.rotate', resource, ...sealed } };
}

interface NextVersion {
  vault: Pick<VaultRow, 'id' | 'name'>;
  before: KeyRow;
  material: NewMaterial;
  at: number;
  /** A principal. */
  by: string;
}

function tooManyVersions(): AppError {
  const message = `a key has at most ${KEY_VERSIONS_MAX} versions: make another key`;
  return new AppError('conflict', message, { rule: 'key-versions-max' });
}
