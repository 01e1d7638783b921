import type { DekRef } from '@cardea/contracts/kek-api';
import { toHex } from '@cardea/crypto/encoding';
import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import { replaceEach } from '../deks/resealable.ts';
import type { OlderPage, OlderRow, Resealed } from '../deks/resealable.ts';
import type { VersionRow } from './version-store.ts';

/** A sealed version. Has no ciphertext if the value was destroyed. */
export type SealedVersion = Pick<VersionRow, 'version' | 'ciphertext' | 'encoding' | 'content_type'>;

export async function listSealedVersions(tx: Transaction, secretId: string): Promise<SealedVersion[]> {
  return tx.query<SealedVersion>(
    `select version, ciphertext, encoding, content_type
       from secret_version
      where secret_id = $1
      order by version`,
    [secretId],
  );
}

/** How many versions these secrets have, and how many of the versions are references. */
export async function countVersions(db: Db, secretIds: string[]): Promise<{ versions: number; references: number }> {
  const [row] = await db.query<{ versions: number; refs: number }>(
    `select count(*) as versions, count(r.secret_id) as refs
       from ${jsonRows(db.engine, '$1')}
       join secret_version e on e.secret_id = value ->> 0
       left join secret_reference r on r.secret_id = e.secret_id and r.version = e.version`,
    [JSON.stringify(secretIds.map((id) => [id]))],
  );
  return { versions: row!.versions, references: row!.refs };
}

/** The ciphertext of a version; null if its value was destroyed, undefined if the version does not exist. */
export async function findCiphertext(
  db: Queryable,
  { secretId, version }: { secretId: string; version: number },
): Promise<Uint8Array | null | undefined> {
  const [row] = await db.query<{ ciphertext: Uint8Array | null }>(
    `select ciphertext
       from secret_version
      where secret_id = $1
        and version = $2`,
    [secretId, version],
  );
  return row?.ciphertext;
}

/** A version under an older DEK, with the vault and the name that it is bound to. */
export type OlderVersion = OlderRow &
  Pick<VersionRow, 'encoding' | 'content_type'> & {
    name: string;
    /** Null if somebody deleted the row of the vault. */
    vault_name: string | null;
  };

/** Versions of a vault that are sealed under an older DEK than this one. */
export async function listVersionsUnderOlderDeks(
  db: Queryable,
  { vaultId, dekVersion }: DekRef,
  { after, limit }: OlderPage,
): Promise<OlderVersion[]> {
  return db.query<OlderVersion>(
    `select e.dek_version, e.secret_id as id, e.version, e.ciphertext, e.encoding, e.content_type, s.name,
            v.name as vault_name
       from secret_version e
       left join secret s on s.id = e.secret_id
       left join vault v on v.id = e.vault_id
      where e.vault_id = $1
        and e.dek_version < $2
        and (e.dek_version, e.secret_id, e.version) > ($3, $4, $5)
      order by e.dek_version, e.secret_id, e.version
      limit $6`,
    [vaultId, dekVersion, after.dek_version, after.id, after.version, limit],
  );
}

export async function countVersionsUnderOlderDeks(db: Queryable, { vaultId, dekVersion }: DekRef): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n
       from secret_version
      where vault_id = $1
        and dek_version < $2`,
    [vaultId, dekVersion],
  );
  return row!.n;
}

/** Whether a DEK seals any version of its vault. */
export async function isVersionUnder(tx: Transaction, { vaultId, dekVersion }: DekRef): Promise<boolean> {
  const rows = await tx.query(
    `select version
       from secret_version
      where vault_id = $1
        and dek_version = $2
      limit 1`,
    [vaultId, dekVersion],
  );
  return rows.length > 0;
}

/**
 * Replaces the ciphertexts of a page; see `Resealable.replace`. SQLite is in this process, so a statement for each row
 * costs little there. PostgreSQL gets one statement for the page.
 */
export async function replaceCiphertexts(
  tx: Transaction,
  engine: Db['engine'],
  page: Resealed[],
  dekVersion: number,
): Promise<number> {
  if (engine === 'postgres') return replaceAtOnce(tx, page, dekVersion);
  return replaceEach(page, ({ id: secretId, ...row }) => replaceCiphertext(tx, { ...row, secretId, dekVersion }));
}

async function replaceAtOnce(tx: Transaction, page: Resealed[], dekVersion: number): Promise<number> {
  const rows = await tx.query(
    `update secret_version e
        set ciphertext = decode(value ->> 3, 'hex'),
            dek_version = $2
       from ${jsonRows('postgres', '$1')}
      where e.secret_id = value ->> 0
        and e.version = cast(value ->> 1 as bigint)
        and e.ciphertext = decode(value ->> 2, 'hex')
     returning e.version`,
    [JSON.stringify(page.map(({ id, version, from, to }) => [id, version, toHex(from), toHex(to)])), dekVersion],
  );
  return rows.length;
}

/** Replaces the ciphertext `from` by `to`. Returns false and changes nothing if the row has another ciphertext. */
export async function replaceCiphertext(
  tx: Transaction,
  row: { secretId: string; version: number; from: Uint8Array; to: Uint8Array; dekVersion: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update secret_version
        set ciphertext = $4,
            dek_version = $5
      where secret_id = $1
        and version = $2
        and ciphertext = $3
     returning version`,
    [row.secretId, row.version, row.from, row.to, row.dekVersion],
  );
  return rows.length === 1;
}
