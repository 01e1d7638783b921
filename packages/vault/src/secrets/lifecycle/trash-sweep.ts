import type { VaultContext } from '../../context.ts';
import { NotDue, changeIfDue, sweepPages } from '../../sweep.ts';
import { giveUpName } from '../given-up-names.ts';
import { unindexSecret } from '../listing/search-index.ts';
import { findSecret, removeSecret, updateSecret } from '../secret-store.ts';
import { findDueSecret } from './expiry-store.ts';
import { listTrashedBefore, removeTrashed } from './trash-store.ts';

/** Purges what was in the trash for the full retention time: the whole secret, or only its versions in the trash. */
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
    // A caller has restored or purged it since it was listed.
    if (!found || !secret?.trashed_at || secret.trashed_at > before) throw new NotDue();
    const removed = await removeTrashed(tx, id);
    if (secret.live === 1) {
      await updateSecret(tx, { ...secret, trashed_at: null });
    } else {
      await unindexSecret(tx, id);
      await removeSecret(tx, id);
      await giveUpName(tx, { vaultId: found.vault_id, name: found.name, version: secret.current_version });
    }
    const version = removed.at(-1)!;
    const resource = { vault: found.vault_name, vaultId: found.vault_id, name: found.name, version };
    return { action: 'secret.purge', resource, rule: 'trash-retention' };
  });
}
