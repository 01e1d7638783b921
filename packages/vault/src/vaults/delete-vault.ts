import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { removeDeks } from '../deks/dek-store.ts';
import { vaultNotThere } from '../not-there.ts';
import { changed } from '../record.ts';
import { countSecrets, forgetDeletedVault, listDeletedVaults, removeVault } from './deleted-vault-store.ts';
import { vaultFields } from './vaults.ts';

/**
 * How many secrets of a vault are counted. PostgreSQL undoes a transaction that has read what others write beside it:
 * the fewer rows it reads, the sooner it gets through while the vault is busy.
 */
const COUNTED_MAX = 1_000;
/** How many deleted vaults one run of the sweep clears away. */
const VAULTS_MAX = 100;

/**
 * Deletes a vault. One transaction takes it from everybody, frees its name and destroys its DEKs, so that what it held
 * can be opened by nobody; `sweepDeletedVaults` removes those rows later and in pages, for there may be very many. The
 * record has the count of its secrets, up to 1,000 of them.
 * @throws AppError `not_found`, `access_denied`; `conflict` for one that holds secrets, unless `recursive`
 */
export async function deleteVault(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, recursive }: { vault: string; recursive: boolean },
): Promise<Audited<undefined>> {
  const { vault, rule } = await authorize(ctx, caller, 'vault.delete', { vault: name });
  const deleted = changed(ctx, caller, async (tx) => {
    const removed = await removeVault(tx, { id: vault.id, at: ctx.now().getTime() });
    if (!removed) throw vaultNotThere();
    const count = await countSecrets(tx, { vaultId: vault.id, limit: COUNTED_MAX + 1 });
    if (count > 0 && !recursive) throw notEmpty(count);
    await removeDeks(tx, vault.id);
    const resource = { vault: vault.name, vaultId: vault.id, ...(count > COUNTED_MAX ? {} : { count }) };
    const changes = changesBetween(vaultFields(removed), {});
    return { value: undefined, happening: { action: 'vault.delete', resource, rule, changes } };
  });
  // Nobody finds the vault any more, in no process, so nobody uses them: they need not wait for their time to be up.
  return deleted.finally(() => ctx.deks.forget(vault.id));
}

function notEmpty(count: number): AppError {
  const message = `the vault holds ${howMany(count)}, in the trash or not: ?recursive=true deletes it with them`;
  return new AppError('conflict', message, { rule: 'not-empty' });
}

function howMany(count: number): string {
  if (count > COUNTED_MAX) return `more than ${COUNTED_MAX} secrets`;
  return count === 1 ? '1 secret' : `${count} secrets`;
}

/**
 * Removes a page of what a feature keeps of a vault, after `after` in an order of its own ('' is before all of it).
 * Answers where the page ended, or undefined if nothing was left. It goes on from there, for PostgreSQL walks over what
 * was removed before until it is vacuumed. A page is small: others wait to write meanwhile.
 */
export type ClearVault = (tx: Transaction, page: { vaultId: string; after: string }) => Promise<string | undefined>;

/** Removes what deleted vaults held, one feature after the other. What a run leaves, the next one removes. */
export async function sweepDeletedVaults(
  ctx: Pick<VaultContext, 'db'>,
  clearings: readonly ClearVault[],
): Promise<void> {
  for (const vaultId of await listDeletedVaults(ctx.db, VAULTS_MAX)) {
    for (const clear of clearings) await clearPages(ctx, clear, vaultId);
    await forgetIfCleared(ctx, clearings, vaultId);
  }
}

async function clearPages({ db }: Pick<VaultContext, 'db'>, clear: ClearVault, vaultId: string): Promise<void> {
  let after: string | undefined = '';
  while (after !== undefined) {
    const page: { vaultId: string; after: string } = { vaultId, after };
    after = await db.transaction((tx) => clear(tx, page));
  }
}

// What came after its feature was cleared has the next run look again.
async function forgetIfCleared(
  { db }: Pick<VaultContext, 'db'>,
  clearings: readonly ClearVault[],
  vaultId: string,
): Promise<void> {
  await db.transaction(async (tx) => {
    for (const clear of clearings) if ((await clear(tx, { vaultId, after: '' })) !== undefined) return;
    await forgetDeletedVault(tx, vaultId);
  });
}
