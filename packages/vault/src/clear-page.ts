import type { Transaction } from '@cardea/storage/db';

/** How many rows with versions a page of a deleted vault lists; see `ClearVault`. */
export const NAMES_PAGE = 50;
/** A page ends with the row that reaches this number of versions: a secret or a key is removed as a whole. */
const VERSIONS_PAGE = 1_000;

/** A secret or a key of a deleted vault. */
export interface NamedRow {
  id: string;
  name: string;
  versions: number;
}

/** Removes listed rows until the page has enough versions. Returns the last name removed, undefined if none was listed. */
export async function removePage(
  tx: Transaction,
  listed: NamedRow[],
  remove: (tx: Transaction, id: string) => Promise<void>,
): Promise<string | undefined> {
  let last: string | undefined;
  let removed = 0;
  for (const { id, name, versions } of listed) {
    if (removed >= VERSIONS_PAGE) break;
    await remove(tx, id);
    last = name;
    removed += versions;
  }
  return last;
}
