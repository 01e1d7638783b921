import type { DekRef } from '@cardea/contracts/kek-api';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';

/** A row that holds something sealed, and the DEK it was sealed under when it was listed. */
export interface SealedRow {
  dek_version: number;
  /** Of the secret, the user or the key. */
  id: string;
  /** Of the secret; 0 for what has no versions. */
  version: number;
}

/** A page of rows, in the order of the three columns of SealedRow. */
export interface OlderPage {
  /** The last row of the page before. What cannot be resealed stays behind it and holds nothing up. */
  after: SealedRow;
  limit: number;
}

/** Before every row. */
export const FIRST_ROW: SealedRow = { dek_version: 0, id: '', version: 0 };

/**
 * What one feature has sealed under DEKs. Before a DEK is destroyed, every row of every kind that it sealed must have
 * been sealed again under a newer one.
 */
export interface Resealable {
  kind: string;
  /** Rows sealed under an older DEK of the vault than `dek`: none for a vault whose DEKs seal nothing of this kind. */
  listOlder(db: Queryable, dek: DekRef, page: OlderPage): Promise<SealedRow[]>;
  /**
   * Seals the value of a row again under `dek`. False, and nothing done, if it is not sealed under `row.dek_version` any
   * more: it was destroyed, moved or sealed again by somebody else.
   * @throws DekNotLoaded; IntegrityError for what does not open, and stays as it is
   */
  reseal(ctx: Pick<VaultContext, 'deks'>, tx: Transaction, row: SealedRow, dek: DekRef): Promise<boolean>;
}
