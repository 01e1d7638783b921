import { nodeHash } from './hash-chain.ts';
import { constantTimeEqual, sha256 } from './ids.ts';

/** The nodes of one level that a stored subtree joins, as in C2SP tlog-tiles. Also the most leaves read in one call. */
export const TILE_WIDTH = 256;
const HASH_BYTES = 32;

/** Looks up the hashes of a tree, so that a log of millions of entries needs no array. */
export interface TreeHashes {
  /** The leaf hashes of [from, to), at most 256 of them. */
  leaves(from: number, to: number): Promise<Uint8Array[]>;
  /**
   * The hash of the complete subtree of 256^level leaves that begins at leaf index × 256^level (level ≥ 1). Undefined
   * if it is not stored; it is then computed from the nodes below.
   */
  subtree?(level: number, index: number): Promise<Uint8Array | undefined>;
}

/** A complete subtree over the leaves [from, to). */
export interface RangePart {
  hash: Uint8Array;
  from: number;
  to: number;
}

/** MTH of the first `size` leaves, RFC 6962 section 2.1. For size 0 it is the SHA-256 of no bytes. */
export async function rootHash(tree: TreeHashes, size: number): Promise<Uint8Array> {
  assertSize(size);
  return size === 0 ? sha256('') : rangeHash(tree, 0, size);
}

/**
 * MTH of the leaves [from, to), a complete subtree or an incomplete one at the right edge.
 * @throws RangeError if RFC 6962 has no node over that range, or if the tree has fewer leaves
 */
export async function rangeHash(tree: TreeHashes, from: number, to: number): Promise<Uint8Array> {
  assertSize(from);
  assertSize(to);
  if (to <= from || from % coveringPower(to - from) !== 0)
    throw new RangeError('no node of the tree covers that range');
  return hashRange(tree, from, to);
}

/**
 * The audit path of the leaf `seq` to the root of `size` leaves, RFC 6962 section 2.1.1.
 * @throws RangeError unless below
 */
export async function inclusionProof(tree: TreeHashes, seq: number, size: number): Promise<Uint8Array[]> {
  assertSize(seq);
  assertSize(size);
  if (seq >= size) throw new RangeError('the tree has no such leaf');
  const proof: Uint8Array[] = [];
  let source = tree;
  let [from, to] = [0, size];
  while (to - from > 1) {
    source = await nearby(source, from, to);
    const middle = from + splitPoint(to - from);
    if (seq < middle) {
      proof.push(await hashRange(source, middle, to));
      to = middle;
    } else {
      proof.push(await hashRange(source, from, middle));
      from = middle;
    }
  }
  return proof.toReversed();
}

/**
 * The proof that the tree of `to` leaves continues the tree of `from` leaves, RFC 6962 section 2.1.2. Empty if the
 * sizes are the same.
 * @throws RangeError for `from` 0, about which nothing can be proven, and for `from` above `to`
 */
export async function consistencyProof(tree: TreeHashes, from: number, to: number): Promise<Uint8Array[]> {
  assertSize(from);
  assertSize(to);
  if (from === 0 || from > to)
    throw new RangeError('a consistency proof goes from a smaller tree that is not empty to a larger one');
  const proof: Uint8Array[] = [];
  let source = tree;
  let [left, right] = [0, to];
  while (from !== right) {
    source = await nearby(source, left, right);
    const middle = left + splitPoint(right - left);
    if (from <= middle) {
      proof.push(await hashRange(source, middle, right));
      right = middle;
    } else {
      proof.push(await hashRange(source, left, middle));
      left = middle;
    }
  }
  // The verifier has the old root, so the proof omits it if it is a node of the new tree.
  if (left > 0) proof.push(await hashRange(source, left, right));
  return proof.toReversed();
}

/** The fewest complete subtrees that cover [from, to), from left to right. They tie a partial export to the root. */
export async function compactRange(tree: TreeHashes, from: number, to: number): Promise<RangePart[]> {
  assertSize(from);
  assertSize(to);
  if (from > to) throw new RangeError('a range does not end before it begins');
  const parts: RangePart[] = [];
  let at = from;
  while (at < to) {
    const end = at + widestSubtree(at, to);
    parts.push({ hash: await hashRange(tree, at, end), from: at, to: end });
    at = end;
  }
  return parts;
}

/** True if `proof` leads from the leaf hash `leaf` to `root`, RFC 9162 section 2.1.3.2. */
export function verifyInclusion(claim: {
  seq: number;
  size: number;
  leaf: Uint8Array;
  root: Uint8Array;
  proof: readonly Uint8Array[];
}): boolean {
  if (!isSize(claim.seq) || !isSize(claim.size) || claim.seq >= claim.size) return false;
  if (![claim.leaf, ...claim.proof].every(isHash)) return false;
  const climb = new Climb(claim.seq, claim.size - 1);
  let hash = claim.leaf;
  for (const sibling of claim.proof) {
    if (climb.atRoot) return false;
    hash = climb.siblingIsLeft() ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
    climb.up();
  }
  return climb.atRoot && constantTimeEqual(hash, claim.root);
}

/**
 * True if `proof` shows that the tree of `to` leaves continues that of `from`, RFC 9162 section 2.1.4.2. Never from 0.
 */
export function verifyConsistency(claim: {
  from: number;
  to: number;
  fromRoot: Uint8Array;
  toRoot: Uint8Array;
  proof: readonly Uint8Array[];
}): boolean {
  const { from, to, fromRoot, toRoot, proof } = claim;
  if (!isSize(from) || !isSize(to) || from === 0 || from > to) return false;
  if (![fromRoot, toRoot, ...proof].every(isHash)) return false;
  if (from === to) return proof.length === 0 && constantTimeEqual(fromRoot, toRoot);
  const [first, ...siblings] = coveringPower(from) === from ? [fromRoot, ...proof] : proof;
  if (!first) return false;
  const climb = new Climb(from - 1, to - 1);
  climb.skipRightTurns();
  let [oldHash, newHash] = [first, first];
  for (const sibling of siblings) {
    if (climb.atRoot) return false;
    const left = climb.siblingIsLeft();
    if (left) oldHash = nodeHash(sibling, oldHash);
    newHash = left ? nodeHash(sibling, newHash) : nodeHash(newHash, sibling);
    climb.up();
  }
  return climb.atRoot && constantTimeEqual(oldHash, fromRoot) && constantTimeEqual(newHash, toRoot);
}

// The path up from a leaf, as `fn` and `sn` of RFC 9162. Division instead of a shift, because sizes may exceed 2^32.
class Climb {
  #node: number;
  #last: number;

  constructor(node: number, last: number) {
    this.#node = node;
    this.#last = last;
  }

  get atRoot(): boolean {
    return this.#last === 0;
  }

  siblingIsLeft(): boolean {
    return this.#node % 2 === 1 || this.#node === this.#last;
  }

  up(): void {
    // A last node without a right sibling also stands for its parents, up to the level where it is a right child.
    if (this.#node === this.#last) while (this.#node % 2 === 0 && this.#node !== 0) this.#halve();
    this.#halve();
  }

  skipRightTurns(): void {
    while (this.#node % 2 === 1) this.#halve();
  }

  #halve(): void {
    this.#node = Math.floor(this.#node / 2);
    this.#last = Math.floor(this.#last / 2);
  }
}

async function hashRange(tree: TreeHashes, from: number, to: number): Promise<Uint8Array> {
  const stored = await storedSubtree(tree, from, to - from);
  if (stored) return stored;
  if (to - from <= TILE_WIDTH) return hashLeaves(await readLeaves(tree, from, to));
  const middle = from + splitPoint(to - from);
  return nodeHash(await hashRange(tree, from, middle), await hashRange(tree, middle, to));
}

async function storedSubtree(tree: TreeHashes, from: number, width: number): Promise<Uint8Array | undefined> {
  if (!tree.subtree || width < TILE_WIDTH) return undefined;
  let [level, power] = [1, TILE_WIDTH];
  while (power < width) {
    level++;
    power *= TILE_WIDTH;
  }
  return power === width ? tree.subtree(level, from / width) : undefined;
}

async function readLeaves(tree: TreeHashes, from: number, to: number): Promise<Uint8Array[]> {
  const leaves = await tree.leaves(from, to);
  if (leaves.length !== to - from) throw new RangeError('the tree has fewer leaves');
  return leaves;
}

// Works level by level. An odd node at the end moves up unchanged, which gives the same tree as the recursion.
function hashLeaves(leaves: readonly Uint8Array[]): Uint8Array {
  let level = leaves;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const right = level[i + 1];
      above.push(right ? nodeHash(level[i]!, right) : level[i]!);
    }
    level = above;
  }
  return level[0]!;
}

// Once a proof reaches 256 leaves, it reads them once and not again for each node below.
async function nearby(source: TreeHashes, from: number, to: number): Promise<TreeHashes> {
  if (source instanceof LeavesInMemory || to - from > TILE_WIDTH) return source;
  return new LeavesInMemory(from, await readLeaves(source, from, to));
}

class LeavesInMemory implements TreeHashes {
  readonly #first: number;
  readonly #leaves: Uint8Array[];

  constructor(first: number, leaves: Uint8Array[]) {
    this.#first = first;
    this.#leaves = leaves;
  }

  async leaves(from: number, to: number): Promise<Uint8Array[]> {
    return this.#leaves.slice(from - this.#first, to - this.#first);
  }
}

// The largest power of two smaller than n, for n ≥ 2. RFC 6962 splits a tree there.
function splitPoint(n: number): number {
  return coveringPower(n) / 2;
}

// The smallest power of two that is at least n.
function coveringPower(n: number): number {
  let power = 1;
  while (power < n) power *= 2;
  return power;
}

function widestSubtree(from: number, to: number): number {
  let width = 1;
  while (from % (width * 2) === 0 && from + width * 2 <= to) width *= 2;
  return width;
}

function isHash(bytes: Uint8Array): boolean {
  return bytes.length === HASH_BYTES;
}

function isSize(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}

function assertSize(n: number): void {
  if (!isSize(n)) throw new RangeError('a position in the tree is an integer from 0 to 2^53-1');
}
