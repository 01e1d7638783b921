import type { Db } from '@cardea/storage/db';
import { fromCursor, toCursor } from '../../cursor.ts';
import type { Cursor, ListId } from '../../cursor.ts';
import { endOf, justAfter, nameRanges } from '../../name-ranges.ts';
import { pageOf } from '../../page.ts';
import type { Page, PageRequest } from '../../page.ts';
import { listDue } from './list-store.ts';
import type { DueRow } from './list-store.ts';

// How many secrets a page examines at most. If most of the secrets that expire are hidden, the page stays short or
// empty, and the next page continues from there.
const EXAMINED_MAX = 2_048;
const CHUNK = 128;

interface DuePosition {
  dueAt: number;
  name: string;
}

/** The vault, the prefix of the names that may be seen, and the time before which a secret expires (ms since 1970). */
export interface DueQuery {
  vaultId: string;
  pathPrefix: string | undefined;
  before: number;
}

/**
 * The visible secrets that expire before a time, the soonest first. A page may be shorter than `limit` although another
 * page follows.
 * @throws AppError `invalid_request` for an invalid cursor
 */
export async function pageOfDue(db: Db, query: DueQuery, { limit, cursor }: PageRequest): Promise<Page<DueRow>> {
  const list: ListId = ['secrets by expiry', query.vaultId, query.before];
  const [dueAt, name] = fromCursor(list, cursor, [0, '']);
  const found: DueRow[] = [];
  let examined = 0;
  for await (const { row, isVisible } of candidates(db, query, { dueAt, name: justAfter(name) }, limit)) {
    if (isVisible) found.push(row);
    if (found.length > limit) break;
    examined += 1;
    if (examined < EXAMINED_MAX) continue;
    const last = found.at(-1);
    return { items: found, nextCursor: cursorAt(list, row, last ? positionOf(last) : { dueAt, name }) };
  }
  return pageOf(list, found, limit, (row) => [row.due_at, row.name]);
}

// A hidden name never gets into a cursor. So the next page examines again the secrets that expire in the same
// millisecond, except those that were shown.
function cursorAt(list: ListId, { due_at: dueAt }: DueRow, shown: DuePosition): Cursor {
  return toCursor(list, [dueAt, dueAt === shown.dueAt ? shown.name : '']);
}

function positionOf({ due_at: dueAt, name }: DueRow): DuePosition {
  return { dueAt, name };
}

async function* candidates(
  db: Db,
  { vaultId, pathPrefix, before }: DueQuery,
  start: DuePosition,
  limit: number,
): AsyncGenerator<{ row: DueRow; isVisible: boolean }> {
  const chunk = pathPrefix === undefined ? limit + 1 : CHUNK;
  let from = start;
  for (;;) {
    const rows = await listDue(db, { vaultId, from, before, limit: chunk });
    for (const row of rows) yield { row, isVisible: nextVisible(row.name, pathPrefix) === row.name };
    if (rows.length < chunk) return;
    const last = positionOf(rows.at(-1)!);
    // Skips the hidden secrets that expire in the same millisecond, however many there are.
    from = { dueAt: last.dueAt, name: nextVisible(justAfter(last.name), pathPrefix) };
  }
}

// The name itself if it is visible, otherwise the start of the next visible names.
function nextVisible(name: string, pathPrefix: string | undefined): string {
  const [range] = nameRanges({ pathPrefix, from: name });
  return range?.from ?? endOf('');
}
