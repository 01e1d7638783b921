import { changesBetween } from '@cardea/contracts/audit-changes';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { JobRun } from '@cardea/jobs/queue';
import type { Transaction } from '@cardea/storage/db';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import { removeDeks } from '../deks/dek-store.ts';
import { vaultNotThere } from '../not-there.ts';
import type { ChangeOutcome } from '../record.ts';
import { countDependantsOfVault, reasonOf } from '../dependants.ts';
import type { Dependants } from '../dependants.ts';
import {
  countKeys,
  countSecrets,
  hasProtectedKey,
  forgetDeletedVault,
  listDeletedVaults,
  removeVault,
} from './deleted-vault-store.ts';
import { vaultFields } from './vaults.ts';

/** At most how many secrets of a vault are counted, since its other writers wait meanwhile. */
const COUNTED_MAX = 1_000;
/** How many deleted vaults one run of the sweep clears away. */
const VAULTS_MAX = 100;

/**
 * Deletes a vault. One transaction deletes the vault and its grants, frees its name and deletes its DEKs, so that
 * nobody can open its values. `sweepDeletedVaults` deletes the other rows later, in pages, because there may be very
 * many. The record has the count of the secrets, if there are at most 1,000. Returns how many references of other vaults
 * that the caller may list point into it.
 * @throws AppError `not_found`, `access_denied`; `conflict` if the vault holds secrets or keys, unless `recursive`, and if it
 * holds a protected key
 */
export async function deleteVault(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, recursive }: { vault: string; recursive: boolean },
): Promise<Audited<{ dependants: number }>> {
  const allowed = await authorize(ctx, caller, 'vault.delete', { vault: name });
  const { vault, rule } = allowed;
  const work = async (tx: Transaction): Promise<ChangeOutcome<{ dependants: number }>> => {
    const dependants = await countDependantsOfVault(ctx, tx, caller, vault.id);
    const removed = await removeVault(tx, { id: vault.id, at: ctx.now().getTime() });
    if (!removed) throw vaultNotThere();
    const held = { vaultId: vault.id, limit: COUNTED_MAX + 1 };
    const [count, keys] = [await countSecrets(tx, held), await countKeys(tx, held)];
    if (await hasProtectedKey(tx, vault.id)) throw holdsProtectedKey();
    if (count + keys > 0 && !recursive) throw notEmpty({ secrets: count, keys }, dependants);
    await removeDeks(tx, vault.id);
    const resource = { vault: vault.name, vaultId: vault.id, ...(count > COUNTED_MAX ? {} : { count }) };
    const changes = changesBetween(vaultFields(removed), {});
    const facts: EventFacts = { action: 'vault.delete', resource, rule, changes, reason: reasonOf(dependants) };
    return { value: { dependants: dependants.seen }, facts };
  };
  const deleted = changeInVaults(ctx, caller, { rights: [allowed], whole: true }, work);
  // No process finds the vault any more, so its keys have no use. They need not stay in the caches until they expire.
  return deleted.finally(() => {
    ctx.deks.forget(vault.id);
    ctx.keyMaterials.forget(vault.id);
  });
}

function holdsProtectedKey(): AppError {
  const message = 'the vault holds a key that is protected: set its deletionProtection to false first';
  return new AppError('conflict', message, { rule: 'key-protected' });
}

function notEmpty({ secrets, keys }: { secrets: number; keys: number }, { seen }: Dependants): AppError {
  const warning = seen === 0 ? '' : `, and ${seen} references of other vaults point to them`;
  const held = [howMany(secrets, 'secret'), howMany(keys, 'key')].filter((text) => text !== undefined).join(' and ');
  const message = `the vault holds ${held}, in the trash or not${warning}: ?recursive=true deletes them too`;
  return new AppError('conflict', message, { rule: 'not-empty' });
}

function howMany(count: number, noun: string): string | undefined {
  if (count === 0) return undefined;
  if (count > COUNTED_MAX) return `more than ${COUNTED_MAX} ${noun}s`;
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

/**
 * Deletes a page of a feature's rows of a vault, after the position `after` in the feature's own order ('' is before
 * all rows). Returns the position where the page ended, or undefined if no row was left. The next page starts there,
 * because PostgreSQL walks over deleted rows until they are vacuumed. A page is small, because other writers wait.
 */
export type ClearVault = (tx: Transaction, page: { vaultId: string; after: string }) => Promise<string | undefined>;

/** Deletes the rows of deleted vaults, one feature after the other. The next run deletes what this run leaves. */
export async function sweepDeletedVaults(
  ctx: Pick<VaultContext, 'db'>,
  clearings: readonly ClearVault[],
  run: JobRun,
): Promise<void> {
  for (const vaultId of await listDeletedVaults(ctx.db, VAULTS_MAX)) {
    for (const clear of clearings) await clearPages(ctx, { clear, vaultId, run });
    await forgetIfCleared(ctx, clearings, vaultId);
    run.done(1);
  }
}

async function clearPages(
  { db }: Pick<VaultContext, 'db'>,
  { clear, vaultId, run }: { clear: ClearVault; vaultId: string; run: JobRun },
): Promise<void> {
  let after: string | undefined = '';
  while (after !== undefined) {
    const page: { vaultId: string; after: string } = { vaultId, after };
    after = await db.transaction((tx) => clear(tx, page));
    run.signal.throwIfAborted();
  }
}

// If rows came after their feature was cleared, the vault stays listed for the next run.
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
