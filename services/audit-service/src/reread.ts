import { setImmediate } from 'node:timers/promises';
import { toHex } from '@cardea/crypto/encoding';
import { chainHash } from '@cardea/crypto/hash-chain';
import { TILE_WIDTH, rootHash } from '@cardea/crypto/merkle';
import type { RangePart, TreeHashes } from '@cardea/crypto/merkle';
import type { Db } from '@cardea/storage/db';
import { deriveRow, differences } from './entry-row.ts';
import type { EntryRow, ParseEntry } from './entry-row.ts';
import { readRows, storedTree } from './entry-store.ts';
import type { Head } from './entry-store.ts';
import { FatalLogError } from './log.ts';
import type { TreeHead } from './tree-head.ts';

/** Entries that are read in one step: all others wait for it, a millisecond or two. */
const PAGE = 64;

/** The log up to a size, as read from its stored bytes. */
export interface Verified {
  tree: TreeHead;
  /** The chain hash of the last entry, of none: the genesis. */
  chain: Uint8Array;
}

/**
 * Reads every entry between `from` and `head` from disk and makes chain, leaves, columns and subtrees again from the
 * bytes alone. A bit that flipped, or was flipped, since the append is found before anything is signed.
 * @throws FatalLogError that names the entry
 */
export async function verifyStored(db: Db, from: Verified, head: Head, parse: ParseEntry): Promise<Verified> {
  const stored = storedTree(db);
  const tree = from.tree.fork();
  if (head.size < tree.size) throw new FatalLogError(`the log had ${tree.size} entries and has ${head.size}`);

  let { chain } = from;
  while (tree.size < head.size) {
    const end = Math.min(head.size, tree.size + PAGE);
    const rows = await readRows(db, tree.size, end);
    for (const row of rows) {
      verifyRow(row, { seq: tree.size, chain }, parse);
      chain = chainHash(row.entry);
      for (const part of tree.append(row.leaf)) await verifyTile(stored, part);
    }
    if (tree.size < end) throw missing(tree.size);
    // SQLite answers at once: without this nobody would be let in before all of it is read.
    await setImmediate();
  }
  if (!equal(chain, head.chain)) throw new FatalLogError('the head is not the hash of the last entry');
  if (!equal(await rootHash(stored, head.size), tree.root())) {
    throw new FatalLogError('the stored hashes give another root than the entries');
  }
  return { tree, chain };
}

function verifyRow(row: EntryRow, expected: { seq: number; chain: Uint8Array }, parse: ParseEntry): void {
  if (row.seq !== expected.seq) throw missing(expected.seq);
  let derived: ReturnType<typeof deriveRow>;
  try {
    derived = deriveRow(row.entry, parse);
  } catch (cause) {
    throw new FatalLogError(`entry ${expected.seq} on disk is no entry`, { cause });
  }
  const wrong = differences(derived.row, row);
  if (wrong.length > 0) throw new FatalLogError(`entry ${expected.seq}: ${wrong.join(', ')} differ from its bytes`);
  if (derived.prev !== toHex(expected.chain)) {
    throw new FatalLogError(`entry ${expected.seq} does not follow the one before it`);
  }
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
