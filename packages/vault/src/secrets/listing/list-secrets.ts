import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { pauseIfLong } from '@cardea/storage/long-work';
import { authorize } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { fromCursor } from '../../cursor.ts';
import type { ListId } from '../../cursor.ts';
import { endOf, justAfter, nameRanges } from '../../name-ranges.ts';
import { pageOf } from '../../page.ts';
import type { Page, PageRequest } from '../../page.ts';
import { audited } from '../../record.ts';
import { toSummary } from '../summary.ts';
import type { SecretSummary } from '../summary.ts';
import { pageOfDue } from './due-list.ts';
import { listFolded, listLive, listTrashed } from './list-store.ts';
import type { ListedRow } from './list-store.ts';
import { wordsOfQuery } from './search-index.ts';
import { search } from './search.ts';

/** A secret without its value. In the list of the trash, it has the time of its deletion. */
export type ListedSecret = SecretSummary & { deletedAt?: Date };

/** One entry for all secrets under a prefix: `db/`. */
export interface Folded {
  prefix: string;
}

export interface ListRequest extends PageRequest {
  /** The first characters of the names; need not end at a slash. */
  prefix?: string | undefined;
  delimiter?: '/' | undefined;
  /** Beginnings of words. Cannot be combined with other filters. */
  q?: string | undefined;
  /** Lists the trash instead. */
  isTrash: boolean;
  /** Milliseconds since 1970. Cannot be combined with other filters. */
  expiringBefore?: number | undefined;
}

/**
 * Secrets of a vault without their values, and only those the caller may see. They come in the order of their names.
 * With `q`, they come in the order of the words found. With `expiringBefore`, the soonest expiry comes first; this
 * includes secrets that have expired already and are not in the trash. The cost of a page depends on what it shows, not
 * on the size of the vault.
 * @throws AppError `not_found`, `access_denied`; `invalid_request` for an invalid cursor
 */
export async function listSecrets(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, ...request }: { vault: string } & ListRequest,
): Promise<Audited<Page<ListedSecret | Folded>>> {
  // On SQLite, many lists at once would be read in one turn of the event loop.
  const pause = pauseIfLong(callerKey(caller));
  if (pause) await pause;
  const allowed = await authorize(ctx, caller, 'secret.list', { vault: name });
  const { vault, rule, pathPrefix } = allowed;
  const visible = { id: vault.id, name: vault.name, pathPrefix };
  const page = await pageFor(ctx, visible, { ...request, by: callerKey(caller) });
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, [allowed], { action: 'secret.list', rule, resource }, () => page);
}

interface VisibleVault {
  id: string;
  name: string;
  pathPrefix: string | undefined;
}

function pageFor(
  ctx: VaultContext,
  vault: VisibleVault,
  request: ListRequest & { by: string },
): Promise<Page<ListedSecret | Folded>> {
  const { q, delimiter, expiringBefore } = request;
  if (q !== undefined) return pageOfWords(ctx, vault, { ...request, q });
  if (expiringBefore !== undefined) return duePage(ctx, vault, { ...request, expiringBefore });
  if (delimiter !== undefined) return foldedPage(ctx, vault, request);
  return plainPage(ctx, vault, request);
}

async function pageOfWords(
  ctx: VaultContext,
  vault: VisibleVault,
  { q, ...request }: PageRequest & { q: string; by: string },
): Promise<Page<ListedSecret>> {
  const list: ListId = ['secrets by words', vault.id, q];
  const criteria = { words: wordsOfQuery(q), labels: [] };
  const { items, ...rest } = await search(ctx.db, [vault], criteria, { ...request, list });
  return { items: items.map(({ row }) => listedOf(row)), ...rest };
}

async function duePage(
  ctx: VaultContext,
  { id: vaultId, pathPrefix }: VisibleVault,
  { expiringBefore: before, ...request }: PageRequest & { expiringBefore: number },
): Promise<Page<ListedSecret>> {
  const { items, ...rest } = await pageOfDue(ctx.db, { vaultId, pathPrefix, before }, request);
  return { items: items.map((row) => listedOf(row)), ...rest };
}

async function plainPage(
  ctx: VaultContext,
  { id: vaultId, pathPrefix }: VisibleVault,
  { prefix, cursor, limit, isTrash }: ListRequest,
): Promise<Page<ListedSecret>> {
  const list: ListId = ['secrets', vaultId, prefix, isTrash];
  const [after] = fromCursor(list, cursor, ['']);
  const from = after === '' ? undefined : justAfter(after);
  // What was in the trash for the full retention time is not shown any more, even if no sweep has purged it yet.
  const deletedAfter = ctx.now().getTime() - ctx.settings.trashMs;
  const rows: ListedRow[] = [];
  for (const range of nameRanges({ prefix, pathPrefix, from })) {
    const part = { vaultId, range, limit: limit + 1 - rows.length };
    rows.push(...(await (isTrash ? listTrashed(ctx.db, { ...part, after: deletedAfter }) : listLive(ctx.db, part))));
  }
  const { items, ...rest } = pageOf(list, rows, limit, (row) => [row.name]);
  return { items: items.map((row) => listedOf(row, isTrash)), ...rest };
}

async function foldedPage(
  ctx: VaultContext,
  { id: vaultId, pathPrefix }: VisibleVault,
  { prefix = '', cursor, limit }: ListRequest,
): Promise<Page<ListedSecret | Folded>> {
  const items: (ListedSecret | Folded)[] = [];
  const list: ListId = ['secrets folded', vaultId, prefix];
  const [last] = fromCursor(list, cursor, ['']);
  let from = last === '' ? '' : beyond(last);
  for (const part of nameRanges({ prefix, pathPrefix })) {
    const range = { from: from > part.from ? from : part.from, to: part.to };
    const rows = await listFolded(ctx.db, { vaultId, prefix, range, limit: limit + 1 - items.length });
    items.push(...rows.map((row) => fold(row, prefix)));
    // A folded prefix at the end of one range may continue in the next range.
    if (items.length > 0) from = beyond(keyOf(items.at(-1)!));
  }
  return pageOf(list, items, limit, (item) => [keyOf(item)]);
}

function keyOf(item: ListedSecret | Folded): string {
  return 'prefix' in item ? item.prefix : item.name;
}

// A name never ends in a slash. So a key that ends in one is a folded prefix, and the next page starts after all its
// names.
function beyond(key: string): string {
  return key.endsWith('/') ? endOf(key) : justAfter(key);
}

function fold(row: ListedRow, prefix: string): ListedSecret | Folded {
  const slash = row.name.indexOf('/', prefix.length);
  return slash < 0 ? listedOf(row) : { prefix: row.name.slice(0, slash + 1) };
}

/** A secret as a list shows it. */
export function listedOf(row: ListedRow, isTrash = false): ListedSecret {
  const deletedAt = isTrash && row.trashed_at !== null ? { deletedAt: new Date(row.trashed_at) } : {};
  return { ...toSummary(row), ...deletedAt };
}
