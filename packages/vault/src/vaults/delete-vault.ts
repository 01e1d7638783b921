import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { removeDeks } from '../deks/dek-store.ts';
import { removeEventsOf } from '../events/event-store.ts';
import { vaultNotThere } from '../not-there.ts';
import { changed } from '../record.ts';
import { removeSecret } from '../secrets/secret-store.ts';
import {
  countSecrets,
  forgetDeletedVault,
  listDeletedVaults,
  listLeftSecrets,
  removeVault,
} from './deleted-vault-store.ts';

/**
 * How many secrets of a vault are counted. PostgreSQL undoes a transaction that has read what others write beside it:
 * the fewer rows it reads, the sooner it gets through while the vault is busy.
 */
const COUNTED_MAX = 1_000;
/** How many deleted vaults one run of the sweep clears away. */
const VAULTS_MAX = 100;
/** What one transaction of it removes at most: others wait to write meanwhile. One secret goes whole, though. */
const SECRETS_PAGE = 50;
const VERSIONS_PAGE = 1_000;
const EVENTS_PAGE = 1_000;

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
    if (!(await removeVault(tx, { id: vault.id, at: ctx.now().getTime() }))) throw vaultNotThere();
    const count = await countSecrets(tx, { vaultId: vault.id, limit: COUNTED_MAX + 1 });
    if (count > 0 && !recursive) throw notEmpty(count);
    await removeDeks(tx, vault.id);
    const resource = { vault: vault.name, vaultId: vault.id, ...(count > COUNTED_MAX ? {} : { count }) };
    return { value: undefined, happening: { action: 'vault.delete', resource, rule } };
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

/** Removes what deleted vaults held. What a run leaves, the next one removes. */
export async function sweepDeletedVaults(ctx: Pick<VaultContext, 'db'>): Promise<void> {
  for (const vaultId of await listDeletedVaults(ctx.db, VAULTS_MAX)) {
    let after: string | undefined = '';
    while (after !== undefined) after = await removeSecretsAfter(ctx, { vaultId, after });
    while (await removeEvents(ctx, vaultId));
    await ctx.db.transaction((tx) => forgetDeletedVault(tx, vaultId));
  }
}

/** Removes secrets in the order of their names; the name of the last one, or undefined if there was none. */
async function removeSecretsAfter(
  ctx: Pick<VaultContext, 'db'>,
  { vaultId, after }: { vaultId: string; after: string },
): Promise<string | undefined> {
  return ctx.db.transaction(async (tx) => {
    let last: string | undefined;
    let removed = 0;
    for (const { id, name, versions } of await listLeftSecrets(tx, { vaultId, after, limit: SECRETS_PAGE })) {
      if (removed >= VERSIONS_PAGE) break;
      await removeSecret(tx, id);
      last = name;
      removed += versions;
    }
    return last;
  });
}

async function removeEvents(ctx: Pick<VaultContext, 'db'>, vaultId: string): Promise<boolean> {
  return ctx.db.transaction(async (tx) => (await removeEventsOf(tx, { vaultId, limit: EVENTS_PAGE })) === EVENTS_PAGE);
}
