import { toCursor } from './cursor.ts';
import type { Cursor, CursorKeys, ListId } from './cursor.ts';

/** The part of a list that the caller wants: at most `limit` items after `cursor`, which `fromCursor` reads. */
export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}

/** A part of a list. It has a `nextCursor` if there are more items. */
export interface Page<T> {
  items: T[];
  nextCursor?: Cursor;
}

/**
 * Cuts a page out of `rows`. The caller queried `limit` + 1 rows: if the extra row is present, there are more items. A
 * cursor has the keys of the last item, so the next page is right even if items before it were added or removed.
 */
export function pageOf<T>(list: ListId, rows: T[], limit: number, keysOf: (item: T) => CursorKeys): Page<T> {
  const items = rows.slice(0, limit);
  return rows.length > limit ? { items, nextCursor: toCursor(list, keysOf(items.at(-1)!)) } : { items };
}
