import { IntegrityError } from '@cardea/crypto/envelope';
import type { Resealable } from '../deks/resealable.ts';
import {
  countVersionsUnderOlderDeks,
  isVersionUnder,
  listVersionsUnderOlderDeks,
  replaceCiphertexts,
} from './sealed-version-store.ts';
import type { OlderVersion } from './sealed-version-store.ts';
import { resealVersion } from './sealing.ts';

/** The values of secrets, including those in the trash, under the DEKs of their vaults. */
export const secretVersions: Resealable<OlderVersion> = {
  kind: 'secret-version',
  listOlder: listVersionsUnderOlderDeks,
  countOlder: countVersionsUnderOlderDeks,
  isUsed: isVersionUnder,
  reseal(ctx, row, dek) {
    if (row.vault_name === null) throw new IntegrityError('the vault of the row does not exist');
    // No request names this version, so vault and name come from the rows. If they were changed there, the value does
    // not open. So it is never sealed again for the changed names.
    const vault = { id: dek.vaultId, name: row.vault_name };
    const id = { vault, name: row.name, secretId: row.id, version: row.version };
    return resealVersion(ctx, { from: id, to: id, dekVersion: dek.dekVersion }, row);
  },
  replace: (ctx, tx, page, dek) => replaceCiphertexts(tx, ctx.db.engine, page, dek.dekVersion),
};
