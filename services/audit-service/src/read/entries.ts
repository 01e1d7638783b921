import type { EntryPage, EntryQuery } from '@cardea/contracts/audit-api';
import { formatMicros, parseMicros } from '@cardea/contracts/audit-time';
import type { Queryable } from '@cardea/storage/db';
import { parseEntry } from '../entry-row.ts';

// One text for every combination of filters. The first filter that is set (vault, actor, action, denials) chooses a
// branch and its index. The other filters have the form `c = $n or $n is null`: no planner uses an index for it, so they
// only drop rows that the branch has found. The bounds are pairs of columns. After `vault = $3`, PostgreSQL would read
// the whole log by its primary key, for a vault that is rare and in a branch that was not chosen. With 200,000 rows that
// took 600 ms; with pairs it takes less than 1 ms.
const FIND_PAGE = `
  select seq, entry from (
    select seq, entry
      from audit_entry
     where vault is not null
       and (vault, seq) >= ($3, $1)
       and (vault, seq) < ($3, $2)
       and $3 is not null
       and (actor_id = $4 or actor_name = $4 or $4 is null)
       and (action = $5 or $5 is null)
       and (decision = $6 or $6 is null)
     order by vault desc, seq desc
     limit $7) as by_vault
  union all
  select seq, entry from (
    select seq, entry
      from audit_entry
     where (actor_id, seq) >= ($4, $1)
       and (actor_id, seq) < ($4, $2)
       and $4 is not null
       and $3 is null
       and (action = $5 or $5 is null)
       and (decision = $6 or $6 is null)
     order by actor_id desc, seq desc
     limit $7) as by_actor_id
  union all
  select seq, entry from (
    select seq, entry
      from audit_entry
     where actor_name is not null
       and (actor_name, seq) >= ($4, $1)
       and (actor_name, seq) < ($4, $2)
       and $4 is not null
       and actor_id <> $4
       and $3 is null
       and (action = $5 or $5 is null)
       and (decision = $6 or $6 is null)
     order by actor_name desc, seq desc
     limit $7) as by_actor_name
  union all
  select seq, entry from (
    select seq, entry
      from audit_entry
     where (action, seq) >= ($5, $1)
       and (action, seq) < ($5, $2)
       and $5 is not null
       and $3 is null
       and $4 is null
       and (decision = $6 or $6 is null)
     order by action desc, seq desc
     limit $7) as by_action
  union all
  select seq, entry from (
    select seq, entry
      from audit_entry
     where seq >= $1
       and seq < $2
       and decision = 'deny'
       and $6 = 'deny'
       and $3 is null
       and $4 is null
       and $5 is null
     order by seq desc
     limit $7) as by_denial
  union all
  select seq, entry from (
    select seq, entry
      from audit_entry
     where seq >= $1
       and seq < $2
       and (decision = $6 or $6 is null)
       and ($6 <> 'deny' or $6 is null)
       and $3 is null
       and $4 is null
       and $5 is null
     order by seq desc
     limit $7) as by_time
   order by seq desc
   limit $7`;

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

/**
 * Lists entries, newest first, parsed from their stored bytes. `actor` is an id or a name. The time range is half open.
 */
export async function listEntries(db: Queryable, query: EntryQuery): Promise<EntryPage> {
  const from = query.from === undefined ? 0 : await firstSince(db, query.from);
  const to = query.to === undefined ? Number.MAX_SAFE_INTEGER : await firstSince(db, query.to);
  const before = query.cursor === undefined ? to : Math.min(to, Number(query.cursor));
  const rows = await db.query<{ seq: number; entry: Uint8Array }>(FIND_PAGE, [
    from,
    before,
    query.vault ?? null,
    query.actor ?? null,
    query.action ?? null,
    query.decision ?? null,
    query.limit + 1,
  ]);
  const items = rows.slice(0, query.limit).map((row) => parseEntry(row.entry));
  const last = items.at(-1);
  return rows.length > query.limit && last ? { items, nextCursor: String(last.seq) } : { items };
}

/**
 * Finds the position of the first entry written at `time` or later. Time and position grow together, so a time range is
 * a range of positions. A binary search by the primary key finds its bounds: it reads 20 rows of a million.
 */
async function firstSince(db: Queryable, time: string): Promise<number> {
  const [row] = await db.query<{ seq: number }>(FIRST_SINCE, [formatMicros(parseMicros(time))]);
  return row!.seq;
}
