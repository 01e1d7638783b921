import type { Transaction } from '@cardea/storage/db';
import { removeSecret } from './secret-store.ts';

/** A page of secrets ends with the secret that reaches this number of versions: a secret is removed as a whole. */
const VERSIONS_PAGE = 1_000;
const SECRETS_PAGE = 50;
const NAMES_PAGE = 1_000;

/** Removes a page of the secrets of a deleted vault, including those in the trash; see `ClearVault`. */
export async function clearSecrets(
  tx: Transaction,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  let last: string | undefined;
  let removed = 0;
  for (const { id, name, versions } of await listSecretsAfter(tx, { vaultId, after, limit: SECRETS_PAGE })) {
    if (removed >= VERSIONS_PAGE) break;
    await removeSecret(tx, id);
    last = name;
    removed += versions;
  }
  return last;
}

/** Secrets of a vault with names after `after`, in the order of their names, and how many versions each has. */
async function listSecretsAfter(
  tx: Transaction,
  { vaultId, after, limit }: { vaultId: string; after: string; limit: number },
): Promise<{ id: string; name: string; versions: number }[]> {
  return tx.query<{ id: string; name: string; versions: number }>(
    `select s.id, s.name, (select count(*)
                             from secret_version v
                            where v.secret_id = s.id) as versions
       from secret s
      where s.vault_id = $1
        and s.name > $2
      order by s.name
      limit $3`,
    [vaultId, after, limit],
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
    [vaultId, after, NAMES_PAGE],
  );
  return rows
    .map(({ name }) => name)
    .toSorted()
    .at(-1);
}
