/** The part of a list that the caller wants: at most `limit` items after `cursor`, in the list's own order. */
export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}

/** A part of a list. It has a `nextCursor` if there are more items. */
export interface Page<T> {
  items: T[];
  nextCursor?: string;
}

/**
 * Cuts a page out of `rows`. The caller queried `limit` + 1 rows: if the extra row is present, there are more items. A
 * cursor is the key of the last item, so the next page is right even if items before it were added or removed.
 */
export function pageOf<T>(rows: T[], limit: number, keyOf: (item: T) => string): Page<T> {
  const items = rows.slice(0, limit);
  return rows.length > limit ? { items, nextCursor: keyOf(items.at(-1)!) } : { items };
}
