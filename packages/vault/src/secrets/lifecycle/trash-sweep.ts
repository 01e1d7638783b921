import type { Queryable } from '@cardea/storage/db';
import type { VaultContext } from '../../context.ts';
import { NotDue, changeIfDue, sweepPages } from '../../sweep.ts';
import { unindexSecret } from '../listing/search-index.ts';
import { stateOf } from '../secret-state.ts';
import { findSecret, giveUpName, removeSecret, removeVersions, updateSecret } from '../secret-store.ts';
import { findDueSecret } from './expiry-store.ts';

/** Removes what has lain in the trash for as long as it is kept: the whole secret, or the versions that are in it. */
export async function sweepTrash(ctx: VaultContext): Promise<void> {
  const before = ctx.now().getTime() - ctx.settings.trashMs;
  await sweepPages(
    (limit) => listTrashedBefore(ctx.db, { before, limit }),
    ({ id }) => purge(ctx, { id, before }),
  );
}

async function purge(ctx: VaultContext, { id, before }: { id: string; before: number }): Promise<boolean> {
  return changeIfDue(ctx, async (tx) => {
    const found = await findDueSecret(tx, id);
    const secret = found && (await findSecret(tx, { vaultId: found.vault_id, name: found.name }));
    // Restored, or purged by hand, since it was listed.
    if (!found || !secret?.trashed_at || secret.trashed_at > before) throw new NotDue();
    if (secret.live === 1) {
      await removeVersions(tx, { secretId: id, through: secret.trashed_through });
      await updateSecret(tx, { ...stateOf(secret), trashedThrough: 0, trashedAt: null, trashedBy: null });
    } else {
      await unindexSecret(tx, id);
      await removeSecret(tx, id);
      await giveUpName(tx, { vaultId: found.vault_id, name: found.name, version: secret.current_version });
    }
    const version = secret.trashed_through;
    const resource = { vault: found.vault_name, vaultId: found.vault_id, name: found.name, version };
    return { action: 'secret.purge', resource, rule: 'trash-retention' };
  });
}

async function listTrashedBefore(
  db: Queryable,
  { before, limit }: { before: number; limit: number },
): Promise<{ id: string }[]> {
  return db.query<{ id: string }>(
    `select s.id
       from secret s
       join vault v on v.id = s.vault_id
      where s.trashed_at <= $1
      order by s.trashed_at
      limit $2`,
    [before, limit],
  );
}
