import type { DekRef } from '@cardea/contracts/kek-api';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';

/** A row with a sealed value, and the version of the DEK that sealed it when the row was listed. */
export interface SealedRow {
  dek_version: number;
  /** The id of the secret, the user or the key. */
  id: string;
  /** The version of the secret; 0 for a row without versions. */
  version: number;
}

/** A page of rows, in the order of the three columns of SealedRow. */
export interface OlderPage {
  /** The last row of the previous page. A row that cannot be resealed stays behind it and does not block the others. */
  after: SealedRow;
  limit: number;
}

/** Sorts before every row. */
export const FIRST_ROW: SealedRow = { dek_version: 0, id: '', version: 0 };

/**
 * The rows that one feature has sealed under DEKs. A DEK may be destroyed only once every row of every kind that it
 * sealed is sealed again under a newer DEK.
 */
export interface Resealable {
  kind: string;
  /** Rows sealed under an older DEK of the vault than `dek`. A vault whose DEKs seal nothing of this kind has none. */
  listOlder(db: Queryable, dek: DekRef, page: OlderPage): Promise<SealedRow[]>;
  /**
   * Seals the value of a row again under `dek`. Returns false and changes nothing if the value is no longer sealed
   * under `row.dek_version`, because another request has destroyed, moved or resealed it.
   * @throws DekNotLoaded; IntegrityError for a value that does not open: it stays as it is
   */
  reseal(ctx: Pick<VaultContext, 'deks'>, tx: Transaction, row: SealedRow, dek: DekRef): Promise<boolean>;
}
