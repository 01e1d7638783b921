import { AppError } from '@cardea/contracts/errors';
import type { EntryAnswer, InternalEntryQuery } from '@cardea/contracts/audit-api';
import type { Db } from '@cardea/storage/db';
import { readHead } from '../entry-store.ts';
import type { QueryIndex } from '../index/query-index.ts';
import { positionsOf } from './positions.ts';
import { readQuestion } from './question.ts';
import { findPage } from './search.ts';
import type { Order, Part } from './search.ts';

/** The entries that the index may lack for a question that waits for it. More are there only while it is made again. */
const BEHIND_MAX = 20_000;

export interface ReadingContext {
  /** Has connections of its own. */
  db: Db;
  index: QueryIndex;
}

/**
 * Answers a question about the log with a page of entries, parsed from their stored bytes. It is complete up to the end
 * of the log at its start.
 * @throws AppError `unavailable` while the index is made again
 */
export async function listEntries({ db, index }: ReadingContext, query: InternalEntryQuery): Promise<EntryAnswer> {
  const { size } = await readHead(db);
  await untilIndexed(index, size);
  const question = await readQuestion(db, query, size);
  if ('refused' in question) return { items: [], refused: question.refused };

  const order = query.order ?? (query.after === undefined ? 'newest' : 'oldest');
  const part = partLeft(query, order, await positionsOf(db, rangeOf(query), size));
  const { items, next } = await findPage(db, { facets: question.facets, part, order, limit: query.limit });
  if (query.after !== undefined) return { items, nextAfter: (next ?? part.to) - 1 };
  if (next === undefined) return { items };
  return { items, nextCursor: String(order === 'newest' ? next : next - 1) };
}

async function untilIndexed(index: QueryIndex, size: number): Promise<void> {
  if (size - index.size() > BEHIND_MAX) {
    const message = `the index of the audit log is being made: ${index.size()} of ${size} entries`;
    throw new AppError('unavailable', message, { retryAfterSeconds: 5 });
  }
  await index.catchUp(size);
}

function rangeOf({ from, to, fromSeq, toSeq, seq }: InternalEntryQuery) {
  return seq === undefined ? { from, to, fromSeq, toSeq } : { from, to, fromSeq: seq, toSeq: seq + 1 };
}

/** What is left of a range: after the page before, or after the entry that the caller knows. */
function partLeft({ cursor = '', after }: InternalEntryQuery, order: Order, { from, to }: Part): Part {
  if (after !== undefined) return { from: Math.max(from, after + 1), to: Math.max(to, after + 1) };
  if (cursor === '') return { from, to };
  return order === 'newest'
    ? { from, to: Math.min(to, Number(cursor)) }
    : { from: Math.max(from, Number(cursor) + 1), to };
}
