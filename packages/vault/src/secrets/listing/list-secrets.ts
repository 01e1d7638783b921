import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { authorize } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
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

/** A secret without its value; in the list of the trash, with the time it came there. */
export type ListedSecret = SecretSummary & { deletedAt?: Date };

/** What stands for all that lies deeper: `db/`. */
export interface Folded {
  prefix: string;
}

export interface ListRequest extends PageRequest {
  /** Of names, by their characters. */
  prefix?: string | undefined;
  delimiter?: '/' | undefined;
  /** Begins of words; stands alone. */
  q?: string | undefined;
  /** Lists the trash instead. */
  isTrash: boolean;
  /** Milliseconds since 1970; stands alone. */
  expiringBefore?: number | undefined;
}

/**
 * Secrets of a vault without their values, and only those the caller may see. In the order of their names; with `q` in
 * that of the words found; with `expiringBefore` the soonest end first, which includes what has ended already and is
 * not in the trash. A page costs what it shows, however much there is.
 * @throws AppError `not_found`, `access_denied`; `invalid_request` for a cursor that is none
 */
export async function listSecrets(
  ctx: VaultContext,
  caller: Caller,
  { vault: name, ...request }: { vault: string } & ListRequest,
): Promise<Audited<Page<ListedSecret | Folded>>> {
  const { vault, rule, pathPrefix } = await authorize(ctx, caller, 'secret.list', { vault: name });
  const page = await pageFor(ctx, { id: vault.id, name: vault.name, pathPrefix }, request);
  const resource = { vault: vault.name, vaultId: vault.id, count: page.items.length };
  return audited(ctx, caller, { action: 'secret.list', rule, resource }, () => page);
}

interface VisibleVault {
  id: string;
  name: string;
  pathPrefix: string | undefined;
}

function pageFor(ctx: VaultContext, vault: VisibleVault, request: ListRequest): Promise<Page<ListedSecret | Folded>> {
  const { q, delimiter, expiringBefore } = request;
  if (q !== undefined) return pageOfWords(ctx, vault, { ...request, q });
  if (expiringBefore !== undefined) return duePage(ctx, vault, { ...request, expiringBefore });
  if (delimiter !== undefined) return foldedPage(ctx, vault, request);
  return plainPage(ctx, vault, request);
}

async function pageOfWords(
  ctx: VaultContext,
  vault: VisibleVault,
  { q, ...request }: PageRequest & { q: string },
): Promise<Page<ListedSecret>> {
  const { items, ...rest } = await search(ctx.db, [vault], { words: wordsOfQuery(q), labels: [] }, request);
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
  const from = cursor === undefined ? undefined : justAfter(cursor);
  const list = isTrash ? listTrashed : listLive;
  const rows: ListedRow[] = [];
  for (const range of nameRanges({ prefix, pathPrefix, from })) {
    rows.push(...(await list(ctx.db, { vaultId, range, limit: limit + 1 - rows.length })));
  }
  const { items, ...rest } = pageOf(rows, limit, (row) => row.name);
  return { items: items.map((row) => listedOf(row, isTrash)), ...rest };
}

async function foldedPage(
  ctx: VaultContext,
  { id: vaultId, pathPrefix }: VisibleVault,
  { prefix = '', cursor, limit }: ListRequest,
): Promise<Page<ListedSecret | Folded>> {
  const items: (ListedSecret | Folded)[] = [];
  let from = cursor === undefined ? '' : beyond(cursor);
  for (const part of nameRanges({ prefix, pathPrefix })) {
    const range = { from: from > part.from ? from : part.from, to: part.to };
    const rows = await listFolded(ctx.db, { vaultId, prefix, range, limit: limit + 1 - items.length });
    items.push(...rows.map((row) => fold(row, prefix)));
    // What covers one part of the names may reach into the next one.
    if (items.length > 0) from = beyond(keyOf(items.at(-1)!));
  }
  return pageOf(items, limit, keyOf);
}

function keyOf(item: ListedSecret | Folded): string {
  return 'prefix' in item ? item.prefix : item.name;
}

// Names do not end in a slash, so a cursor that does is all that begins so.
function beyond(cursor: string): string {
  return cursor.endsWith('/') ? endOf(cursor) : justAfter(cursor);
}

function fold(row: ListedRow, prefix: string): ListedSecret | Folded {
  const slash = row.name.indexOf('/', prefix.length);
  return slash < 0 ? listedOf(row) : { prefix: row.name.slice(0, slash + 1) };
}

/** What a list shows of a row. */
export function listedOf(row: ListedRow, isTrash = false): ListedSecret {
  const deletedAt = isTrash && row.trashed_at !== null ? { deletedAt: new Date(row.trashed_at) } : {};
  return { ...toSummary(row), ...deletedAt };
}
