import { formatMicros, parseMicros } from '@cardea/contracts/audit-time';
import type { Queryable } from '@cardea/storage/db';

// All entries before `low` were written before the time, and all from `high` on were not. The last row has low = high.
const FIRST_SINCE = `
  with recursive search (low, high) as (
    select cast(0 as bigint), size
      from audit_head
     where id = 1
    union all
    select case when written_at < $1 then (low + high) / 2 + 1 else low end,
           case when written_at < $1 then high else (low + high) / 2 end
      from search
      left join audit_entry on seq = (low + high) / 2
     where low < high
  )
  select low as seq
    from search
   where low = high`;

/** A part of the log by times, by numbers, or by both. Each range includes its start and excludes its end. */
export interface AskedRange {
  from?: string | undefined;
  to?: string | undefined;
  fromSeq?: number | undefined;
  toSeq?: number | undefined;
}

/** The entries [from, to) that are in all asked ranges. `size` is that of the log. */
export async function positionsOf(
  db: Queryable,
  { from, to, fromSeq = 0, toSeq }: AskedRange,
  size: number,
): Promise<{ from: number; to: number }> {
  const first = from === undefined ? 0 : await firstSince(db, from);
  const end = to === undefined ? size : await firstSince(db, to);
  return { from: Math.max(first, fromSeq), to: Math.min(end, toSeq ?? size, size) };
}

/**
 * Finds the position of the first entry written at `time` or later. Time and position grow together, so a time range is
 * a range of positions. A binary search by the primary key finds its bounds: it reads 20 rows of a million.
 */
async function firstSince(db: Queryable, time: string): Promise<number> {
  const [row] = await db.query<{ seq: number }>(FIRST_SINCE, [formatMicros(parseMicros(startOf(time)))]);
  return row!.seq;
}

/** A date stands for its first moment. */
function startOf(time: string): string {
  return time.includes('T') ? time : `${time}T00:00:00Z`;
}
