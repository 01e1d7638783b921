import { setImmediate } from 'node:timers/promises';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { toHex } from '@cardea/crypto/encoding';
import { chainHash } from '@cardea/crypto/hash-chain';
import { TILE_WIDTH, rootHash } from '@cardea/crypto/merkle';
import type { RangePart, TreeHashes } from '@cardea/crypto/merkle';
import type { Db } from '@cardea/storage/db';
import { deriveRow, differences } from '../entry-row.ts';
import { termRows } from '../index/query-index.ts';
import type { QueryIndex } from '../index/query-index.ts';
import { findMissingTerm } from '../index/term-store.ts';
import type { TermRow } from '../index/term-store.ts';
import type { EntryRow, ParseEntry } from '../entry-row.ts';
import { readRows, storedTree } from '../entry-store.ts';
import type { Head } from '../entry-store.ts';
import { FatalLogError } from '../append/log.ts';
import type { TreeHead } from './tree-head.ts';

/** The entries read in one step. Other work waits for a step, which takes one or two milliseconds. */
const PAGE = 64;

/** The state of the log at a size, computed from the stored bytes. */
export interface Verified {
  tree: TreeHead;
  /** The chain hash of the last entry, or the genesis if there is none. */
  chain: Uint8Array;
}

/** What entries are read again with. */
export interface Rereading {
  db: Db;
  index: QueryIndex;
  parse: ParseEntry;
}

/**
 * Reads every entry between `from` and `head` from disk and computes chain, leaves, columns, terms and subtrees again from
 * the bytes alone. So a bit that was flipped since the append is found before anything is signed.
 * @throws FatalLogError that names the entry
 */
export async function verifyStored({ db, index, parse }: Rereading, from: Verified, head: Head): Promise<Verified> {
  const stored = storedTree(db);
  const tree = from.tree.fork();
  if (head.size < tree.size) throw new FatalLogError(`the log had ${tree.size} entries and has ${head.size}`);

  let { chain } = from;
  while (tree.size < head.size) {
    const end = Math.min(head.size, tree.size + PAGE);
    const rows = await readRows(db, tree.size, end);
    const terms: TermRow[] = [];
    for (const row of rows) {
      terms.push(...termRows(row.seq, verifyRow(row, { seq: tree.size, chain }, parse)));
      chain = chainHash(row.entry);
      for (const part of tree.append(row.leaf)) await verifyTile(stored, part);
    }
    if (tree.size < end) throw missing(tree.size);
    await verifyTerms({ db, index }, end, terms);
    // SQLite answers synchronously. Without this, no other work could run until everything is read.
    await setImmediate();
  }
  if (!equal(chain, head.chain)) throw new FatalLogError('the head is not the hash of the last entry');
  if (!equal(await rootHash(stored, head.size), tree.root())) {
    throw new FatalLogError('the stored hashes give a different root than the entries');
  }
  return { tree, chain };
}

/** Returns the event of the row. */
function verifyRow(row: EntryRow, expected: { seq: number; chain: Uint8Array }, parse: ParseEntry): AuditEvent {
  if (row.seq !== expected.seq) throw missing(expected.seq);
  let derived: ReturnType<typeof deriveRow>;
  try {
    derived = deriveRow(row.entry, parse);
  } catch (cause) {
    throw new FatalLogError(`entry ${expected.seq} on disk is not a valid entry`, { cause });
  }
  const wrong = differences(derived.row, row);
  if (wrong.length > 0) throw new FatalLogError(`entry ${expected.seq}: ${wrong.join(', ')} differ from its bytes`);
  if (derived.prev !== toHex(expected.chain)) {
    throw new FatalLogError(`entry ${expected.seq} does not follow the one before it`);
  }
  return derived.event;
}

// Only what is missing hides an entry from a question. A term too many does not: a question compares what it finds.
async function verifyTerms({ db, index }: Omit<Rereading, 'parse'>, end: number, terms: TermRow[]): Promise<void> {
  await index.catchUp(end);
  const seq = await findMissingTerm(db, db.engine, terms);
  if (seq === undefined) return;
  throw new FatalLogError(
    `entry ${seq} is not in the index by everything that it says. To make the index again: update audit_indexed set size = 0`,
  );
}

function missing(seq: number): FatalLogError {
  return new FatalLogError(`entry ${seq} is missing`);
}

async function verifyTile(stored: TreeHashes, { hash, from, to }: RangePart): Promise<void> {
  const level = Math.log2(to - from) / Math.log2(TILE_WIDTH);
  if (level < 1 || !Number.isInteger(level)) return;
  const tile = await stored.subtree?.(level, from / (to - from));
  if (!tile || !equal(tile, hash))
    throw new FatalLogError(`the stored hash over entries ${from} to ${to - 1} is wrong`);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
