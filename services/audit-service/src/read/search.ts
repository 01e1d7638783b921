import { setImmediate } from 'node:timers/promises';
import type { Db } from '@cardea/storage/db';
import { parseEntry } from '../entry-row.ts';
import type { Entry } from '../entry-row.ts';
import { readEntriesBySeq } from '../entry-store.ts';
import { countTerm, listCandidates } from '../index/term-store.ts';
import type { Candidate } from '../index/term-store.ts';
import { hasFacets, termOf } from '../index/terms.ts';
import type { Facet } from '../index/terms.ts';

/** The entries that one statement looks at. On SQLite, everything else waits for it: some milliseconds. */
const STEP = 1_024;
/** The entries that one call looks at. A page may therefore have fewer entries than were asked for, and a next page. */
const LOOKED_AT_MAX = 8 * STEP;
/** Terms that more entries have are all the same: the rarest of two terms decides how much is looked at. */
const COUNTED_MAX = 2_048;
/** The entries that one statement reads while a page is not full. */
const READ_AT_ONCE = 128;

/** A range of entries that includes its start and excludes its end. */
export interface Part {
  from: number;
  to: number;
}

export type Order = 'newest' | 'oldest';

/** What is searched for: at most `limit` entries of a part of the log that have all facets. */
export interface Search {
  facets: Facet[];
  part: Part;
  order: Order;
  limit: number;
}

/**
 * Finds a page. `next` bounds what was not looked at: all entries before it (the newest first), or from it on (the
 * oldest first). Undefined if nothing is left.
 */
export async function findPage(
  db: Db,
  { facets, part, order, limit }: Search,
): Promise<{ items: Entry[]; next?: number }> {
  const terms = await rarestFirst(db, facets.map(termOf), part);
  const items: Entry[] = [];
  let left = part;
  let step = limit + 1;
  for (let lookedAt = 0; left.from < left.to; lookedAt += step, step = STEP) {
    if (lookedAt >= LOOKED_AT_MAX) return { items, next: edge(left, order) };
    const candidates = await lookAt(db, { terms, part: left, order, most: step });
    let unread = candidates.filter(({ matches }) => matches === 1).map(({ seq }) => seq);
    // Usually the first read fills the page. More are needed if entries only share a term with what is asked for.
    for (let most = limit - items.length + 1; unread.length > 0; most = READ_AT_ONCE) {
      for (const entry of await readEntries(db, unread.slice(0, most), order)) {
        if (!hasFacets(entry.event, facets)) continue;
        if (items.length === limit) return { items, next: edge(beyond(items.at(-1)!.seq, left, order), order) };
        items.push(entry);
      }
      unread = unread.slice(most);
      await setImmediate();
    }
    const last = candidates.at(-1);
    if (candidates.length < step || !last) return { items };
    left = beyond(last.seq, left, order);
    await setImmediate();
  }
  return { items };
}

function edge({ from, to }: Part, order: Order): number {
  return order === 'newest' ? to : from;
}

function beyond(seq: number, { from, to }: Part, order: Order): Part {
  return order === 'newest' ? { from, to: seq } : { from: seq + 1, to };
}

async function rarestFirst(db: Db, terms: number[], { from, to }: Part): Promise<number[]> {
  if (terms.length < 2) return terms;
  const counted = await Promise.all(
    terms.map(async (term) => ({ term, count: await countTerm(db, { term, from, to, most: COUNTED_MAX }) })),
  );
  return counted.toSorted((a, b) => a.count - b.count).map(({ term }) => term);
}

async function lookAt(
  db: Db,
  { terms, part: { from, to }, order, most }: { terms: number[]; part: Part; order: Order; most: number },
): Promise<Candidate[]> {
  if (terms.length > 0) return listCandidates(db, db.engine, order, { terms, from, to, most });
  // No number is missing in the log.
  return Array.from({ length: Math.min(most, to - from) }, (_, i) => ({
    seq: order === 'newest' ? to - 1 - i : from + i,
    matches: 1 as const,
  }));
}

async function readEntries(db: Db, seqs: number[], order: Order): Promise<Entry[]> {
  if (seqs.length === 0) return [];
  const entries = (await readEntriesBySeq(db, db.engine, seqs)).map(parseEntry);
  return order === 'newest' ? entries.toReversed() : entries;
}
