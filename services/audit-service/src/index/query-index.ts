import { setImmediate } from 'node:timers/promises';
import type { Db } from '@cardea/storage/db';
import { parseEntryUnchecked } from '../entry-row.ts';
import { readEntryBytes, readHead } from '../entry-store.ts';
import { insertTerms, moveIndexed, readIndexed } from './term-store.ts';
import type { TermRow } from './term-store.ts';
import { termsOf } from './terms.ts';

/** The entries of one transaction. A batch keeps an append waiting for some milliseconds. */
const BATCH = 128;

/** The index that questions about the log use. It is derived from the entries and made behind the log, in batches. */
export interface QueryIndex {
  /** How many entries, from the first on, are in the index. */
  size(): number;
  /** Resolves when the first `size` entries are in the index. @throws DbUnavailable */
  catchUp(size: number): Promise<void>;
  /** Takes all entries that the log has now into the index. Called every second. @throws DbUnavailable */
  follow(): Promise<void>;
}

/** Continues the index where it ends. If its end was set back, missing terms are made again. */
export async function openQueryIndex(db: Db): Promise<QueryIndex> {
  let size = await readIndexed(db);
  let underWay: Promise<void> | undefined;

  async function addNext(): Promise<void> {
    const head = await readHead(db);
    if (size < head.size) size = await addBatch(db, size, Math.min(size + BATCH, head.size));
    // SQLite answers synchronously. Without this, no append could run until the index is complete.
    await setImmediate();
  }

  async function catchUp(wanted: number): Promise<void> {
    // One batch at a time, for all who wait.
    while (size < wanted) await (underWay ??= addNext().finally(() => (underWay = undefined)));
  }

  return { size: () => size, catchUp, follow: async () => catchUp((await readHead(db)).size) };
}

/** Returns the new end of the index. */
async function addBatch(db: Db, from: number, to: number): Promise<number> {
  const entries = await readEntryBytes(db, from, to);
  if (entries.length !== to - from) throw new Error(`entries between ${from} and ${to} are missing`);
  const rows = entries.flatMap((entry, index) => termRows(from + index, parseEntryUnchecked(entry).event));
  const isMoved = await db.lockingTransaction({}, async (tx) => {
    await insertTerms(tx, db.engine, rows);
    return moveIndexed(tx, from, to);
  });
  // An operator may have set the end back, so that the index is made again.
  return isMoved ? to : readIndexed(db);
}

/** The rows of one entry in the index. */
export function termRows(seq: number, event: Parameters<typeof termsOf>[0]): TermRow[] {
  return termsOf(event).map((term) => [term, seq]);
}
