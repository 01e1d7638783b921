import type { Db, Queryable, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';

/** A row of `audit_term`: the entry `seq` has the term. */
export type TermRow = [term: number, seq: number];

/** How many entries, from the first on, have their terms. */
export async function readIndexed(db: Queryable): Promise<number> {
  const [row] = await db.query<{ size: number }>('select size from audit_indexed where id = 1');
  if (!row) throw new Error('audit_indexed has no row');
  return row.size;
}

/** Moves the end of the index by compare-and-swap. Returns false if it is no longer where the caller saw it. */
export async function moveIndexed(tx: Transaction, from: number, to: number): Promise<boolean> {
  const moved = await tx.query(
    `update audit_indexed
        set size = $1
      where id = 1
        and size = $2
      returning size`,
    [to, from],
  );
  return moved.length === 1;
}

/** Adds terms. Terms that are there stay, so the index can be made again at any time. */
export async function insertTerms(tx: Transaction, engine: Db['engine'], rows: TermRow[]): Promise<void> {
  // In the order of the table: neighbours are written to the same page at once. `where true` keeps SQLite from reading
  // `on conflict` as a join.
  const sorted = rows.toSorted(([a, x], [b, y]) => a - b || x - y);
  await tx.query(
    `insert into audit_term (term, seq)
     select cast(value ->> 0 as bigint), cast(value ->> 1 as bigint)
       from ${jsonRows(engine, '$1')}
      where true
         on conflict (term, seq) do nothing`,
    [JSON.stringify(sorted)],
  );
}

// Terms are looked up by scalar subqueries. PostgreSQL makes a join of `not exists`, and while it believes the table to be
// small, it reads the whole table for a join.

/** The first of these rows that is not in the index, by its number of an entry. */
export async function findMissingTerm(
  db: Queryable,
  engine: Db['engine'],
  rows: TermRow[],
): Promise<number | undefined> {
  const [row] = await db.query<{ seq: number | null }>(
    `select min(cast(value ->> 1 as bigint)) as seq
       from ${jsonRows(engine, '$1')}
      where (select t.seq
               from audit_term as t
              where t.term = cast(value ->> 0 as bigint)
                and t.seq = cast(value ->> 1 as bigint)) is null`,
    [JSON.stringify(rows)],
  );
  return row?.seq ?? undefined;
}

/** How many of the entries [from, to) have a term, counted to at most `most`. */
export async function countTerm(
  db: Queryable,
  { term, from, to, most }: { term: number; from: number; to: number; most: number },
): Promise<number> {
  const [row] = await db.query<{ n: number }>(
    `select count(*) as n
       from (select 1
               from audit_term
              where term = $1
                and seq >= $2
                and seq < $3
              limit $4) as counted`,
    [term, from, to, most],
  );
  return row!.n;
}

/** An entry with one term, and whether it has the others too. */
export interface Candidate {
  seq: number;
  matches: 0 | 1;
}

// A text for each order and engine. Only literals of this file are in them.
const CANDIDATES = {
  newest: { sqlite: candidates('desc', 'sqlite'), postgres: candidates('desc', 'postgres') },
  oldest: { sqlite: candidates('asc', 'sqlite'), postgres: candidates('asc', 'postgres') },
} as const;

function candidates(order: 'asc' | 'desc', engine: Db['engine']): string {
  return `
    select c.seq, not exists (select 1
                                from ${jsonRows(engine, '$5')}
                               where (select t.seq
                                        from audit_term as t
                                       where t.term = cast(value ->> 0 as bigint)
                                         and t.seq = c.seq) is null) as matches
      from (select seq
              from audit_term
             where term = $1
               and seq >= $2
               and seq < $3
             order by seq ${order}
             limit $4) as c
     order by c.seq ${order}`;
}

/** Looks through the entries [from, to) with the first term, at most `most` of them, in this order. */
export function listCandidates(
  db: Queryable,
  engine: Db['engine'],
  order: 'newest' | 'oldest',
  { terms: [first, ...others], from, to, most }: { terms: number[]; from: number; to: number; most: number },
): Promise<Candidate[]> {
  return db.query<Candidate>(CANDIDATES[order][engine], [
    first!,
    from,
    to,
    most,
    JSON.stringify(others.map((term) => [term])),
  ]);
}
