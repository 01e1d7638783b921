import type { VaultContext } from '../../context.ts';
import { changeDue } from '../../sweep.ts';
import type { DueWork } from '../../sweep.ts';
import { listTrashToPurge, findTrashed, keepLive, purgeSecrets, removeAllTrashed } from './trash-sweep-store.ts';
import type { TrashedSecret } from './trash-sweep-store.ts';

/** Purges what was in the trash for the full retention time: the whole secret, or only its versions in the trash. */
export const trashRetention: DueWork<{ at: number; id: string }> = {
  async list(ctx, { now, after, limit }) {
    const { trashMs } = ctx.settings;
    const from = after && { at: after.at - trashMs, id: after.id };
    const listed = await listTrashToPurge(ctx.db, { now: now - trashMs, after: from, limit });
    return listed.map(({ at, id }) => ({ at: at + trashMs, id }));
  },
  work: (ctx, items) =>
    purge(
      ctx,
      items.map(({ id }) => id),
    ),
};

function purge(ctx: VaultContext, ids: string[]): Promise<number> {
  const { engine } = ctx.db;
  return changeDue(ctx, async (tx, now) => {
    // A caller may have restored or purged some since they were listed.
    const due = await findTrashed(tx, engine, { ids, before: now - ctx.settings.trashMs });
    const newest = await removeAllTrashed(
      tx,
      engine,
      due.map(({ id }) => id),
    );
    await keepLive(
      tx,
      engine,
      due.filter(({ live }) => live === 1).map(({ id }) => id),
    );
    await purgeSecrets(
      tx,
      engine,
      due.filter(({ live }) => live === 0),
    );
    return due.map((secret) => ({
      action: 'secret.purge',
      resource: resourceOf(secret, newest),
      rule: 'trash-retention',
    }));
  });
}

function resourceOf({ id, vault_id: vaultId, vault_name: vault, name }: TrashedSecret, newest: Map<string, number>) {
  return { vault, vaultId, name, version: newest.get(id)! };
}
