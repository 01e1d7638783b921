import type { DekRef } from '@cardea/contracts/kek-api';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';

/** Names a row with a sealed value, and the version of the DEK that sealed it when the row was listed. */
export interface SealedRow {
  dek_version: number;
  /** The id of the secret, the user or the key. */
  id: string;
  /** The version of the secret; 0 for a row without versions. */
  version: number;
}

/** A row under an older DEK, with its sealed value. */
export interface OlderRow extends SealedRow {
  ciphertext: Uint8Array;
  /** How an operator knows it: the name of the secret or of the user; null for a row without a name. */
  name: string | null;
}

/** A page of rows, in the order of the three columns of SealedRow. */
export interface OlderPage {
  /** The last row of the previous page. A row that cannot be resealed stays behind it and does not block the others. */
  after: SealedRow;
  limit: number;
}

/** Sorts before every row. */
export const FIRST_ROW: SealedRow = { dek_version: 0, id: '', version: 0 };

/** A row's old ciphertext, and the new one that takes its place. */
export interface Resealed {
  id: string;
  version: number;
  from: Uint8Array;
  to: Uint8Array;
}

/**
 * The rows that one feature has sealed under DEKs. A DEK may be destroyed only once every row of every kind that it
 * sealed is sealed again under a newer DEK.
 */
export interface Resealable<Row extends OlderRow = OlderRow> {
  kind: string;
  /** Rows sealed under an older DEK of the vault than `dek`. A vault whose DEKs seal nothing of this kind has none. */
  listOlder(db: Queryable, dek: DekRef, page: OlderPage): Promise<Row[]>;
  /** How many rows are sealed under an older DEK than `dek`. */
  countOlder(db: Queryable, dek: DekRef): Promise<number>;
  /** Whether a DEK seals any row of this kind. */
  isUsed(tx: Transaction, dek: DekRef): Promise<boolean>;
  /**
   * Seals the value of a listed row again under `dek`. Writes nothing.
   * @throws DekNotLoaded; IntegrityError for a value that does not open
   */
  reseal(ctx: Pick<VaultContext, 'deks'>, row: Row, dek: DekRef): Uint8Array;
  /**
   * Replaces the ciphertexts of a page, sealed under `dek`. Leaves a row that no longer has its old ciphertext, because
   * another request has destroyed, moved or resealed the value. Returns how many rows it replaced.
   */
  replace(ctx: Pick<VaultContext, 'db'>, tx: Transaction, page: Resealed[], dek: DekRef): Promise<number>;
}

/** Replaces the ciphertexts of a page one by one; see `Resealable.replace`. `replaceOne` says whether it replaced its row. */
export async function replaceEach(page: Resealed[], replaceOne: (row: Resealed) => Promise<boolean>): Promise<number> {
  let replaced = 0;
  for (const row of page) if (await replaceOne(row)) replaced += 1;
  return replaced;
}
