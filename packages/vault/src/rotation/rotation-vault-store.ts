import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import { SYSTEM_VAULT_ID } from '../deks/dek-store.ts';
import type { RotationCounts } from './rotation-store.ts';

/** A vault that a run of a rotation has claimed. */
export interface ClaimedVault {
  vault_id: string;
  /** `pending` until the rotation has added a DEK to the vault. */
  state: 'pending' | 'running';
}

/** One run of the job of a rotation. */
export interface ClaimBy {
  rotationId: string;
  runId: string;
}

/** Adds one vault to a rotation. */
export async function addVault(tx: Transaction, rotationId: string, vaultId: string): Promise<void> {
  await tx.query(
    `insert into rotation_vault (rotation_id, vault_id, state, done, failed)
     values ($1, $2, 'pending', 0, 0)`,
    [rotationId, vaultId],
  );
}

/** Adds all vaults to a rotation, and the chain of the system's own DEKs. */
export async function addAllVaults(tx: Transaction, rotationId: string): Promise<void> {
  await tx.query(
    `insert into rotation_vault (rotation_id, vault_id, state, done, failed)
     select $1, v.id, 'pending', 0, 0
       from (select id from vault union all select cast($2 as text)) as v`,
    [rotationId, SYSTEM_VAULT_ID],
  );
}

/** Adds the vaults whose newest DEK has sealed a new value. */
export async function addWrittenVaults(tx: Transaction, rotationId: string): Promise<void> {
  await tx.query(
    `insert into rotation_vault (rotation_id, vault_id, state, done, failed)
     select distinct cast($1 as text), vault_id, 'pending', 0, 0
       from dek
      where state = 'active'
        and first_used_at is not null`,
    [rotationId],
  );
}

const CLAIM: Record<Db['engine'], string> = {
  sqlite: claimSql(''),
  postgres: claimSql('for update skip locked'),
};

// SQLite runs one statement that writes after the other, so it needs no lock.
function claimSql(lock: string): string {
  return `
    update rotation_vault
       set claimed_by = $2,
           claimed_until = $3
     where rotation_id = $1
       and vault_id = (select vault_id
                         from rotation_vault
                        where rotation_id = $1
                          and state <> 'finished'
                          and (claimed_until is null or claimed_until <= $4 or claimed_until > $3)
                        order by state, vault_id
                        limit 1 ${lock})
    returning vault_id, state`;
}

/**
 * Claims a vault that no other run works on: first one without a new DEK, then one whose rows are to be resealed. A
 * claim that has expired is free, and so is one of the far future, which is left if the clock was set back.
 */
export async function claimVault(
  db: Db,
  { rotationId, runId }: ClaimBy,
  { now, until }: { now: number; until: number },
): Promise<ClaimedVault | undefined> {
  const [row] = await db.query<ClaimedVault>(CLAIM[db.engine], [rotationId, runId, until, now]);
  return row;
}

/** Ends the claim of a run, so that any run may go on with the vault. */
export async function releaseVault(db: Db, { rotationId, runId }: ClaimBy, vaultId: string): Promise<void> {
  await db.query(
    `update rotation_vault
        set claimed_by = null,
            claimed_until = null
      where rotation_id = $1
        and vault_id = $2
        and claimed_by = $3
     returning vault_id`,
    [rotationId, vaultId, runId],
  );
}

/** Notes the DEK that a rotation has added, and how many rows are under older ones. False if the claim was lost. */
export async function setRunning(
  tx: Transaction,
  { rotationId, runId }: ClaimBy,
  { vaultId, dekVersion, total }: { vaultId: string; dekVersion: number; total: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update rotation_vault
        set state = 'running',
            to_version = $4,
            total = $5
      where rotation_id = $1
        and vault_id = $2
        and claimed_by = $3
        and state = 'pending'
     returning vault_id`,
    [rotationId, vaultId, runId, dekVersion, total],
  );
  return rows.length === 1;
}

/** RotationCounts the rows of a page and renews the claim. False if the claim was lost. */
export async function addProgress(
  tx: Transaction,
  { rotationId, runId }: ClaimBy,
  { vaultId, done, failed, until }: { vaultId: string; done: number; failed: number; until: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update rotation_vault
        set done = done + $4,
            failed = $5,
            claimed_until = $6
      where rotation_id = $1
        and vault_id = $2
        and claimed_by = $3
     returning vault_id`,
    [rotationId, vaultId, runId, done, failed, until],
  );
  return rows.length === 1;
}

/** Notes that nothing is left to do in a vault. False if the claim was lost. */
export async function setFinished(
  tx: Transaction,
  { rotationId, runId }: ClaimBy,
  { vaultId, failed }: { vaultId: string; failed: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update rotation_vault
        set state = 'finished',
            total = coalesce(total, 0),
            failed = $4,
            claimed_by = null,
            claimed_until = null
      where rotation_id = $1
        and vault_id = $2
        and claimed_by = $3
     returning vault_id`,
    [rotationId, vaultId, runId, failed],
  );
  return rows.length === 1;
}

/** Whether a rotation has a vault that is not finished. */
export async function hasUnfinishedVault(db: Queryable, rotationId: string): Promise<boolean> {
  const rows = await db.query(
    `select vault_id
       from rotation_vault
      where rotation_id = $1
        and state <> 'finished'
      limit 1`,
    [rotationId],
  );
  return rows.length > 0;
}

/** Adds up the counts of the vaults of an open rotation. Vaults that are not counted yet add nothing to the total. */
export async function sumVaults(db: Queryable, rotationId: string): Promise<RotationCounts> {
  const [row] = await db.query<RotationCounts>(
    `select coalesce(sum(total), 0) as total,
            coalesce(sum(done), 0) as done,
            coalesce(sum(failed), 0) as failed
       from rotation_vault
      where rotation_id = $1`,
    [rotationId],
  );
  return row!;
}

/** Deletes the vaults of a rotation that ends. */
export async function removeVaults(tx: Transaction, rotationId: string): Promise<void> {
  await tx.query(`delete from rotation_vault where rotation_id = $1`, [rotationId]);
}
