import { jsonRows } from '@cardea/storage/json-rows';
import type { Db, Queryable, Transaction } from '@cardea/storage/db';

/** A DEK that an older KEK wraps. */
export interface OlderDek {
  vault_id: string;
  version: number;
  wrapped: Uint8Array;
  kek_version: number;
}

/** A position in the list of older DEKs. */
export type DekPosition = Omit<OlderDek, 'wrapped'>;

/** Sorts before every DEK. */
export const FIRST_DEK: DekPosition = { kek_version: 0, vault_id: '', version: 0 };

/** DEKs that a KEK older than `kekVersion` wraps. */
export async function listDeksUnderOlderKeks(
  db: Queryable,
  kekVersion: number,
  { after, limit }: { after: DekPosition; limit: number },
): Promise<OlderDek[]> {
  return db.query<OlderDek>(
    `select vault_id, version, wrapped, kek_version
       from dek
      where kek_version < $1
        and wrapped is not null
        and (kek_version, vault_id, version) > ($2, $3, $4)
      order by kek_version, vault_id, version
      limit $5`,
    [kekVersion, after.kek_version, after.vault_id, after.version, limit],
  );
}

/** How many DEKs a KEK older than `kekVersion` wraps. */
export async function countDeksUnderOlderKeks(db: Queryable, kekVersion: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n
       from dek
      where kek_version < $1
        and wrapped is not null`,
    [kekVersion],
  );
  return row!.n;
}

/** How many DEKs one KEK wraps. */
export async function countDeksUnder(db: Queryable, kekVersion: number): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n
       from dek
      where kek_version = $1
        and wrapped is not null`,
    [kekVersion],
  );
  return row!.n;
}

/** A DEK's old wrapping, and the new one that takes its place. */
export interface Rewrapped {
  vaultId: string;
  version: number;
  from: Uint8Array;
  to: Uint8Array;
  kekVersion: number;
}

/**
 * Replaces the wrappings of a page. Leaves a DEK that no longer has its old wrapping, because it was destroyed or
 * another run has rewrapped it. Returns how many it replaced.
 */
export async function replaceWrappings(tx: Transaction, engine: Db['engine'], page: Rewrapped[]): Promise<number> {
  const fromHex = FROM_HEX[engine];
  const rows = await tx.query(
    `update dek
        set wrapped = ${fromHex(3)},
            kek_version = cast(value ->> 4 as bigint)
       from ${jsonRows(engine, '$1')}
      where vault_id = value ->> 0
        and version = cast(value ->> 1 as bigint)
        and wrapped = ${fromHex(2)}
     returning version`,
    [JSON.stringify(page.map(toJson))],
  );
  return rows.length;
}

const FROM_HEX: Record<Db['engine'], (element: number) => string> = {
  sqlite: (element) => `unhex(value ->> ${element})`,
  postgres: (element) => `decode(value ->> ${element}, 'hex')`,
};

function toJson({ vaultId, version, from, to, kekVersion }: Rewrapped): (string | number)[] {
  return [vaultId, version, toHex(from), toHex(to), kekVersion];
}

function toHex({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex');
}

/** Whether a KEK older than `kekVersion` wraps a DEK, other than those that do not open. */
export async function hasDekToRewrap(db: Queryable, kekVersion: number): Promise<boolean> {
  const rows = await db.query(
    `select d.version
       from dek d
      where d.kek_version < $1
        and d.wrapped is not null
        and not exists (select 1
                          from unopened_row u
                         where u.kind = 'dek'
                           and u.vault_id = d.vault_id
                           and u.id = d.vault_id
                           and u.version = d.version)
      limit 1`,
    [kekVersion],
  );
  return rows.length > 0;
}

/** How many DEKs each KEK version wraps. */
export async function countDeksByKek(db: Queryable): Promise<Map<number, number>> {
  const rows = await db.query<{ kek_version: number; n: number }>(
    `select kek_version, count(*) as n
       from dek
      where wrapped is not null
      group by kek_version`,
  );
  return new Map(rows.map(({ kek_version, n }) => [kek_version, n]));
}
