import type { Queryable, Transaction } from '@cardea/storage/db';
import type { OlderPage, OlderRow } from '../../deks/resealable.ts';
import { systemResealable } from '../../deks/system-sealing.ts';

/** What the system calls the private keys that unwrap imports. */
export const IMPORT_KIND = 'key-import';

/** A wrapping key. */
export interface ImportJobRow {
  /** Null once it was used. */
  ciphertext: Uint8Array | null;
  expires_at: number;
}

export interface NewImportJob {
  id: string;
  vaultId: string;
  /** A principal. */
  createdBy: string;
  ciphertext: Uint8Array;
  dekVersion: number;
  createdAt: number;
  expiresAt: number;
}

export async function insertImportJob(tx: Transaction, job: NewImportJob): Promise<void> {
  await tx.query(
    `insert into key_import (id, vault_id, created_by, ciphertext, dek_version, created_at, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [job.id, job.vaultId, job.createdBy, job.ciphertext, job.dekVersion, job.createdAt, job.expiresAt],
  );
}

export async function findImportJob(db: Queryable, id: string): Promise<ImportJobRow | undefined> {
  const [row] = await db.query<ImportJobRow>(
    `select ciphertext, expires_at
       from key_import
      where id = $1`,
    [id],
  );
  return row;
}

/** Destroys the private key of a wrapping key. False if it was used before. */
export async function useUpImportJob(tx: Transaction, id: string): Promise<boolean> {
  const rows = await tx.query(
    `update key_import
        set ciphertext = null,
            dek_version = null
      where id = $1
        and ciphertext is not null
     returning id`,
    [id],
  );
  return rows.length === 1;
}

/** How many wrapping keys of a principal there are, with those that were used and have not expired. */
export async function countImportJobs(db: Queryable, principal: string): Promise<number> {
  const [row] = await db.query<{ n: number }>(`select count(*) as n from key_import where created_by = $1`, [
    principal,
  ]);
  return row!.n;
}

/** Removes wrapping keys that expired before `before`. Returns how many. */
export async function removeExpiredImportJobs(
  tx: Transaction,
  { before, limit }: { before: number; limit: number },
): Promise<number> {
  const rows = await tx.query(
    `delete from key_import
      where id in (select id
                     from key_import
                    where expires_at < $1
                    limit $2)
     returning id`,
    [before, limit],
  );
  return rows.length;
}

const CLEAR_PAGE = 200;

/** Removes a page of the wrapping keys of a deleted vault; see `ClearVault`. */
export async function clearImportJobs(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  const rows = await tx.query<{ id: string }>(
    `delete from key_import
      where id in (select id
                     from key_import
                    where vault_id = $1
                      and id > $2
                    order by id
                    limit $3)
     returning id`,
    [vaultId, after, CLEAR_PAGE],
  );
  return rows
    .map(({ id }) => id)
    .toSorted()
    .at(-1);
}

/** The private keys of wrapping keys, under the DEKs of the system. */
export const importJobs = systemResealable(IMPORT_KIND, {
  listOlder: (db: Queryable, dekVersion: number, { after, limit }: OlderPage) =>
    db.query<OlderRow>(
      `select dek_version, id, 0 as version, ciphertext, null as name
         from key_import
        where dek_version < $1
          and (dek_version, id) > ($2, $3)
        order by dek_version, id
        limit $4`,
      [dekVersion, after.dek_version, after.id, limit],
    ),
  async countOlder(db, dekVersion) {
    const [row] = await db.query<{ n: number }>(`select count(*) as n from key_import where dek_version < $1`, [
      dekVersion,
    ]);
    return row!.n;
  },
  async isUsed(tx, dekVersion) {
    const rows = await tx.query(`select id from key_import where dek_version = $1 limit 1`, [dekVersion]);
    return rows.length > 0;
  },
  async replaceCiphertext(tx, { id, from, to, dekVersion }) {
    const rows = await tx.query(
      `update key_import
          set ciphertext = $3,
              dek_version = $4
        where id = $1
          and ciphertext = $2
       returning id`,
      [id, from, to, dekVersion],
    );
    return rows.length === 1;
  },
});
