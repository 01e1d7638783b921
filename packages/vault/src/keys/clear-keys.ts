import type { Transaction } from '@cardea/storage/db';
import { NAMES_PAGE, removePage } from '../clear-page.ts';
import type { NamedRow } from '../clear-page.ts';
import { removeKey } from './schedule/key-sweep-store.ts';

/** Removes a page of the keys of a deleted vault; see `ClearVault`. */
export async function clearKeys(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  return removePage(tx, await listKeysAfter(tx, { vaultId, after }), removeKey);
}

async function listKeysAfter(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<NamedRow[]> {
  return tx.query<NamedRow>(
    `select k.id, k.name, (select count(*)
                             from key_version v
                            where v.key_id = k.id) as versions
       from vault_key k
      where k.vault_id = $1
        and k.name > $2
      order by k.name
      limit $3`,
    [vaultId, after, NAMES_PAGE],
  );
}
