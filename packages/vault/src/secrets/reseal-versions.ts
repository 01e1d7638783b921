import type { Resealable } from '../deks/resealable.ts';
import { findVersionUnder, listVersionsUnderOlderDeks, replaceCiphertext } from './sealed-version-store.ts';
import { resealVersion } from './sealing.ts';

/** The values of secrets, including those in the trash, under the DEKs of their vaults. */
export const secretVersions: Resealable = {
  kind: 'secret-version',
  listOlder: listVersionsUnderOlderDeks,
  async reseal(ctx, tx, row, dek) {
    const found = await findVersionUnder(tx, { vaultId: dek.vaultId, dekVersion: row.dek_version }, row);
    if (!found) return false;
    // No request names this version, so vault and name come from the rows. If they were changed there, the value does
    // not open. So it is never sealed again for the changed names.
    const vault = { id: dek.vaultId, name: found.vault_name };
    const id = { vault, name: found.name, secretId: row.id, version: row.version };
    const to = resealVersion(ctx, { from: id, to: id, dekVersion: dek.dekVersion }, found);
    const { id: secretId, version } = row;
    return replaceCiphertext(tx, { secretId, version, from: found.ciphertext, to, dekVersion: dek.dekVersion });
  },
};
