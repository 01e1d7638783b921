import type { Db } from '@cardea/storage/db';
import { fromCursor, toCursor } from '../../cursor.ts';
import { endOf, justAfter, nameRanges } from '../../name-ranges.ts';
import { pageOf } from '../../page.ts';
import type { Page, PageRequest } from '../../page.ts';
import { listDue } from './list-store.ts';
import type { DueRow } from './list-store.ts';

// How many secrets a page looks at where most of those that end are hidden. It is left short then, or empty, and the
// next page goes on from there.
const EXAMINED_MAX = 2_048;
const CHUNK = 128;

interface DuePosition {
  dueAt: number;
  name: string;
}

/** Of which vault, which part of it may be seen, and the time before which it ends: milliseconds since 1970. */
export interface DueQuery {
  vaultId: string;
  pathPrefix: string | undefined;
  before: number;
}

/**
 * What may be seen of the secrets that end before a time, the soonest first. A page may be shorter than `limit` though
 * there is another.
 * @throws AppError `invalid_request` for a cursor that is none
 */
export async function pageOfDue(db: Db, query: DueQuery, { limit, cursor }: PageRequest): Promise<Page<DueRow>> {
  const [dueAt, name] = cursor === undefined ? [0, ''] : fromCursor(cursor, [0, ''] as const);
  const found: DueRow[] = [];
  let examined = 0;
  for await (const { row, isVisible } of candidates(db, query, { dueAt, name: justAfter(name) }, limit)) {
    if (isVisible) found.push(row);
    if (found.length > limit) break;
    examined += 1;
    if (examined < EXAMINED_MAX) continue;
    const last = found.at(-1);
    return { items: found, nextCursor: cursorAt(row, last ? placeOf(last) : { dueAt, name }) };
  }
  return pageOf(found, limit, (row) => toCursor([row.due_at, row.name]));
}

// A name that is hidden gets into no cursor: the next page looks again at what ends in the same millisecond, but for
// what was shown of it.
function cursorAt({ due_at: dueAt }: DueRow, shown: DuePosition): string {
  return toCursor([dueAt, dueAt === shown.dueAt ? shown.name : '']);
}

function placeOf({ due_at: dueAt, name }: DueRow): DuePosition {
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
    const last = placeOf(rows.at(-1)!);
    // However many hidden ones end in the same millisecond, they are stepped over.
    from = { dueAt: last.dueAt, name: nextVisible(justAfter(last.name), pathPrefix) };
  }
}

// The name itself if it may be seen, else where those begin that come next and may.
function nextVisible(name: string, pathPrefix: string | undefined): string {
  const [range] = nameRanges({ pathPrefix, from: name });
  return range?.from ?? endOf('');
}
