/** Which part of a list is asked for: what comes after `cursor`, in the list's own order. */
export interface PageRequest {
  limit: number;
  cursor?: string | undefined;
}

/** A part of a list; `nextCursor` is there if there is more. */
export interface Page<T> {
  items: T[];
  nextCursor?: string;
}

/**
 * Cuts a page out of rows of which one more than `limit` was asked for: its presence says that there is more. A cursor
 * is the key of the last item, so a page is right whatever was added or removed before it.
 */
export function pageOf<T>(rows: T[], limit: number, keyOf: (item: T) => string): Page<T> {
  const items = rows.slice(0, limit);
  return rows.length > limit ? { items, nextCursor: keyOf(items.at(-1)!) } : { items };
}
