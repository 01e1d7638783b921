import { AppError } from '@cardea/contracts/errors';
import { SYSTEM_VAULT_ID } from '@cardea/contracts/kek-api';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { WrappedDek } from '@cardea/contracts/keks';
import type { Queryable, Transaction } from '@cardea/storage/db';
import { vaultNotThere } from '../not-there.ts';

export { SYSTEM_VAULT_ID };

/** The version of a vault's newest active DEK; undefined for a vault without one. */
export async function findNewestDekVersion(db: Queryable, vaultId: string): Promise<number | undefined> {
  const [row] = await db.query<{ version: number }>(
    `select version
       from dek
      where vault_id = $1
        and state = 'active'
      order by version desc
      limit 1`,
    [vaultId],
  );
  return row?.version;
}

/** The DEK that seals new values of a vault, and when it was used first. */
export interface NewestDek {
  version: number;
  first_used_at: number | null;
}

/**
 * The version of the DEK that seals a new value of a vault. Notes the time of its first use.
 * @throws AppError as `missingDek`
 */
export async function useNewestDek(tx: Transaction, vaultId: string, at: number): Promise<number> {
  const [row] = await tx.query<NewestDek>(
    `select version, first_used_at
       from dek
      where vault_id = $1
        and state = 'active'
      order by version desc
      limit 1`,
    [vaultId],
  );
  if (!row) throw await missingDek(tx, { vaultId });
  await noteFirstUse(tx, vaultId, row, at);
  return row.version;
}

/** Notes the time of the first use of a DEK, in milliseconds since 1970: a DEK that was used is rotated after some hours. */
export async function noteFirstUse(tx: Transaction, vaultId: string, dek: NewestDek, at: number): Promise<void> {
  if (dek.first_used_at !== null) return;
  await tx.query(`update dek set first_used_at = $3 where vault_id = $1 and version = $2 and first_used_at is null`, [
    vaultId,
    dek.version,
    at,
  ]);
}

/** A DEK as it is stored; undefined if it never existed or is destroyed. */
export async function findWrappedDek(db: Queryable, ref: DekRef): Promise<WrappedDek | undefined> {
  const [row] = await db.query<{ wrapped: Uint8Array; kek_version: number }>(
    `select wrapped, kek_version
       from dek
      where vault_id = $1
        and version = $2
        and wrapped is not null`,
    [ref.vaultId, ref.dekVersion],
  );
  return row && { bytes: row.wrapped, kekVersion: row.kek_version };
}

/**
 * Adds an active DEK. From then on it seals new values.
 * @throws AppError `unavailable` if an admin has destroyed the KEK since it wrapped the DEK: nobody could unwrap it
 */
export async function insertDek(tx: Transaction, ref: DekRef, wrapped: WrappedDek, createdAt: number): Promise<void> {
  const inserted = await tx.query(
    `insert into dek (vault_id, version, state, wrapped, kek_version, created_at)
     select $1, $2, 'active', $3, $4, $5
      where not exists (select 1 from kek_destruction k where k.kek_version = $4)
     returning version`,
    [ref.vaultId, ref.dekVersion, wrapped.bytes, wrapped.kekVersion, createdAt],
  );
  if (inserted.length === 0) throw new AppError('unavailable', 'the KEK was destroyed just now: repeat the call');
}

/** The version that a vault's last DEK has, whatever its state; undefined if the vault has no DEK. */
export async function findLastDekVersion(db: Queryable, vaultId: string): Promise<number | undefined> {
  const [row] = await db.query<{ version: number }>(
    `select version
       from dek
      where vault_id = $1
      order by version desc
      limit 1`,
    [vaultId],
  );
  return row?.version;
}

/** Makes every older active DEK of the vault a retiring one: it opens values and seals no new ones. */
export async function retireOlderDeks(tx: Transaction, { vaultId, dekVersion }: DekRef): Promise<void> {
  await tx.query(
    `update dek
        set state = 'retiring'
      where vault_id = $1
        and version < $2
        and state = 'active'`,
    [vaultId, dekVersion],
  );
}

/** The versions of the retiring DEKs of a vault that are older than `dekVersion`, in order. */
export async function listRetiringDeks(db: Queryable, { vaultId, dekVersion }: DekRef): Promise<number[]> {
  const rows = await db.query<{ version: number }>(
    `select version
       from dek
      where vault_id = $1
        and version < $2
        and state = 'retiring'
      order by version`,
    [vaultId, dekVersion],
  );
  return rows.map(({ version }) => version);
}

/** Destroys a retiring DEK: its wrapped bytes are gone. False if it is not retiring. */
export async function destroyDek(tx: Transaction, { vaultId, dekVersion }: DekRef): Promise<boolean> {
  const rows = await tx.query(
    `update dek
        set state = 'destroyed',
            wrapped = null
      where vault_id = $1
        and version = $2
        and state = 'retiring'
     returning version`,
    [vaultId, dekVersion],
  );
  return rows.length === 1;
}

/** Deletes the DEKs of a vault. From then on nobody can open the values they sealed. */
export async function removeDeks(tx: Transaction, vaultId: string): Promise<void> {
  await tx.query(`delete from dek where vault_id = $1`, [vaultId]);
}

/**
 * Why a DEK is missing. Either its vault was deleted after the caller was allowed to use it, or the database is
 * damaged. A value sealed under a destroyed DEK is damage too: a DEK is destroyed only once it seals no value any more.
 */
export async function missingDek(db: Queryable, { vaultId }: { vaultId: string }): Promise<AppError> {
  const [vault] = await db.query(`select id from vault where id = $1`, [vaultId]);
  const isThere = vault !== undefined || vaultId === SYSTEM_VAULT_ID;
  if (!isThere) return vaultNotThere();
  const damage = { rule: 'missing-dek', suspicious: 'integrity_failure' } as const;
  return new AppError('internal', `a DEK of vault ${vaultId} is missing`, damage);
}
