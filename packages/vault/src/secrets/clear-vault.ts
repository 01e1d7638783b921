import type { Transaction } from '@cardea/storage/db';
import { NAMES_PAGE, removePage } from '../clear-page.ts';
import type { NamedRow } from '../clear-page.ts';
import { removeSecret } from './secret-store.ts';

const GIVEN_UP_PAGE = 1_000;

/** Removes a page of the secrets of a deleted vault, including those in the trash; see `ClearVault`. */
export async function clearSecrets(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  return removePage(tx, await listSecretsAfter(tx, { vaultId, after }), removeSecret);
}

/** Secrets of a vault with names after `after`, in the order of their names, and how many versions each has. */
async function listSecretsAfter(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<NamedRow[]> {
  return tx.query<NamedRow>(
    `select s.id, s.name, (select count(*)
                             from secret_version v
                            where v.secret_id = s.id) as versions
       from secret s
      where s.vault_id = $1
        and s.name > $2
      order by s.name
      limit $3`,
    [vaultId, after, NAMES_PAGE],
  );
}

/** Removes a page of the given-up names of a deleted vault; see `ClearVault`. */
export async function clearGivenUpNames(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  const rows = await tx.query<{ name: string }>(
    `delete from given_up_name
      where vault_id = $1
        and name in (select name
                       from given_up_name
                      where vault_id = $1
                        and name > $2
                      order by name
                      limit $3)
     returning name`,
    [vaultId, after, GIVEN_UP_PAGE],
  );
  return rows
    .map(({ name }) => name)
    .toSorted()
    .at(-1);
}
