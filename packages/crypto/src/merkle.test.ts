import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { leafHash, nodeHash } from './hash-chain.ts';
import { sha256, sha256Hex } from './ids.ts';
import {
  compactRange,
  consistencyProof,
  inclusionProof,
  rangeHash,
  rootHash,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts';
import type { RangePart, TreeHashes } from './merkle.ts';

interface ProofVector {
  hashes: string[];
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/audit-log.json', import.meta.url), 'utf8')) as {
  entries: { leaf: string }[];
  roots: Record<string, string>;
  inclusion: (ProofVector & { seq: number; size: number })[];
  consistency: (ProofVector & { from: number; to: number })[];
};
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
const bytes = (text: string): Uint8Array => Buffer.from(text, 'hex');

const LEAVES = 1_500;
const allLeaves = Array.from({ length: LEAVES }, (_, i) => leafHash(Buffer.from(`entry ${i}`)));

// RFC 6962 section 2.1, word for word. It is slow and easy to check.
function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256('');
  if (leaves.length === 1) return leaves[0]!;
  const k = naiveSplit(leaves.length);
  return nodeHash(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

function naivePath(m: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return [];
  const k = naiveSplit(leaves.length);
  if (m < k) return [...naivePath(m, leaves.slice(0, k)), naiveRoot(leaves.slice(k))];
  return [...naivePath(m - k, leaves.slice(k)), naiveRoot(leaves.slice(0, k))];
}

function naiveSubproof(m: number, leaves: readonly Uint8Array[], whole: boolean): Uint8Array[] {
  if (m === leaves.length) return whole ? [] : [naiveRoot(leaves)];
  const k = naiveSplit(leaves.length);
  if (m <= k) return [...naiveSubproof(m, leaves.slice(0, k), whole), naiveRoot(leaves.slice(k))];
  return [...naiveSubproof(m - k, leaves.slice(k), false), naiveRoot(leaves.slice(0, k))];
}

function naiveSplit(n: number): number {
  return 2 ** Math.floor(Math.log2(n - 1));
}

function treeOf(leaves: readonly Uint8Array[]) {
  const reads: number[] = [];
  const tree: TreeHashes = {
    async leaves(from, to) {
      reads.push(to - from);
      return leaves.slice(from, to);
    },
  };
  return { tree, reads };
}

// Returns every complete subtree except those whose index `missing` picks. Those must be computed.
function treeWithSubtrees(leaves: readonly Uint8Array[], missing: (index: number) => boolean = () => false) {
  const { tree, reads } = treeOf(leaves);
  const lookups: string[] = [];
  const subtree = async (level: number, index: number) => {
    lookups.push(`${level}/${index}`);
    const [from, to] = [index * 256 ** level, (index + 1) * 256 ** level];
    return to > leaves.length || missing(index) ? undefined : naiveRoot(leaves.slice(from, to));
  };
  return { tree: { ...tree, subtree }, reads, lookups };
}

const trees = (leaves: readonly Uint8Array[]) => [
  treeOf(leaves).tree,
  treeWithSubtrees(leaves).tree,
  treeWithSubtrees(leaves, (index) => index % 2 === 0).tree,
];

const size = fc.oneof(
  fc.integer({ min: 1, max: 20 }),
  fc.integer({ min: 1, max: 600 }),
  fc.constantFrom(255, 256, 257, 511, 512, 513, 1_024, LEAVES),
);
const sizeAndPart = size.chain((whole) => fc.tuple(fc.constant(whole), fc.integer({ min: 0, max: whole - 1 })));

describe('the vectors of the audit log', () => {
  const leaves = vectors.entries.map((entry) => bytes(entry.leaf));
  const { tree } = treeOf(leaves);
  const rootAt = (n: number) => bytes(vectors.roots[n]!);

  test.each(Object.entries(vectors.roots))('%s entries give the root of the vectors', async (n, root) => {
    expect(hex(await rootHash(tree, Number(n)))).toBe(root);
  });

  test.each(vectors.inclusion)(
    'the proof shows that entry $seq is among $size entries',
    async ({ seq, size, hashes }) => {
      expect((await inclusionProof(tree, seq, size)).map(hex)).toEqual(hashes);
      const proof = hashes.map(bytes);
      expect(verifyInclusion({ seq, size, leaf: leaves[seq]!, root: rootAt(size), proof })).toBe(true);
    },
  );

  test.each(vectors.consistency)(
    'the proof shows that the tree of $to entries continues that of $from',
    async ({ from, to, hashes }) => {
      expect((await consistencyProof(tree, from, to)).map(hex)).toEqual(hashes);
      const proof = hashes.map(bytes);
      expect(verifyConsistency({ from, to, fromRoot: rootAt(from), toRoot: rootAt(to), proof })).toBe(true);
    },
  );
});

describe('against RFC 6962 written out over an array', () => {
  test('every root of up to 600 leaves is the same, with and without stored subtrees', async () => {
    const [plain, stored, gaps] = trees(allLeaves);
    for (let n = 0; n <= 600; n++) {
      const expected = hex(naiveRoot(allLeaves.slice(0, n)));
      expect(hex(await rootHash(plain!, n))).toBe(expected);
      expect(hex(await rootHash(stored!, n))).toBe(expected);
      expect(hex(await rootHash(gaps!, n))).toBe(expected);
    }
  });

  test('inclusion proofs are the same, and verify', async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndPart, async ([whole, seq]) => {
        const leaves = allLeaves.slice(0, whole);
        const proof = naivePath(seq, leaves);
        for (const tree of trees(leaves)) {
          expect((await inclusionProof(tree, seq, whole)).map(hex)).toEqual(proof.map(hex));
        }
        const claim = { seq, size: whole, leaf: leaves[seq]!, root: naiveRoot(leaves), proof };
        expect(verifyInclusion(claim)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('consistency proofs are the same, and verify', async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndPart, async ([to, less]) => {
        const leaves = allLeaves.slice(0, to);
        const from = less + 1;
        const proof = naiveSubproof(from, leaves, true);
        for (const tree of trees(leaves)) {
          expect((await consistencyProof(tree, from, to)).map(hex)).toEqual(proof.map(hex));
        }
        const claim = { from, to, fromRoot: naiveRoot(leaves.slice(0, from)), toRoot: naiveRoot(leaves), proof };
        expect(verifyConsistency(claim)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('all proofs of all trees up to 40 leaves verify, and none for another position or size', async () => {
    const { tree } = treeOf(allLeaves);
    const roots = Array.from({ length: 42 }, (_, n) => naiveRoot(allLeaves.slice(0, n)));
    for (let size = 1; size <= 40; size++) {
      for (let at = 0; at < size; at++) {
        const claim = { seq: at, size, leaf: allLeaves[at]!, root: roots[size]! };
        const proof = await inclusionProof(tree, at, size);
        expect(verifyInclusion({ ...claim, proof })).toBe(true);
        expect(verifyInclusion({ ...claim, proof, seq: at + 1 })).toBe(false);
        expect(verifyInclusion({ ...claim, proof, root: roots[size + 1]! })).toBe(false);

        const [from, to] = [at + 1, size];
        const link = { from, to, fromRoot: roots[from]!, toRoot: roots[to]! };
        const chain = await consistencyProof(tree, from, to);
        expect(verifyConsistency({ ...link, proof: chain })).toBe(true);
        expect(verifyConsistency({ ...link, proof: chain, fromRoot: roots[from - 1]! })).toBe(false);
        expect(verifyConsistency({ ...link, proof: chain, toRoot: roots[to + 1]! })).toBe(false);
      }
    }
  });

  test('a compact range covers its leaves without a gap, in the widest subtrees, and leads to the root', async () => {
    await fc.assert(
      fc.asyncProperty(sizeAndPart, async ([whole, from]) => {
        const leaves = allLeaves.slice(0, whole);
        const tree = treeWithSubtrees(leaves).tree;
        const parts = await compactRange(tree, from, whole);
        let at = from;
        for (const part of parts) {
          expect(part.from).toBe(at);
          expect(hex(part.hash)).toBe(hex(naiveRoot(leaves.slice(part.from, part.to))));
          at = part.to;
        }
        expect(at).toBe(whole);
        expect(parts.length).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(whole + 1)));
        const all = [...(await compactRange(tree, 0, from)), ...parts];
        expect(hex(joined(all))).toBe(hex(naiveRoot(leaves)));
      }),
      { numRuns: 40 },
    );
  });
});

describe('a read of the tree', () => {
  test('takes at most 256 leaves at a time, and never a leaf below a stored subtree', async () => {
    const { tree, reads, lookups } = treeWithSubtrees(allLeaves);
    await rootHash(tree, LEAVES);
    expect(lookups).toEqual(['1/0', '1/1', '1/2', '1/3', '1/4']);
    expect(reads).toEqual([LEAVES - 5 * 256]);
    const plain = treeOf(allLeaves);
    await rootHash(plain.tree, LEAVES);
    expect(Math.max(...plain.reads)).toBe(256);
  });

  test('takes one batch of leaves for an inclusion proof', async () => {
    const { tree, reads } = treeWithSubtrees(allLeaves.slice(0, 1_024));
    await inclusionProof(tree, 300, 1_024);
    expect(reads).toEqual([256]);
  });

  test('takes a few subtrees for a log of 4,294,967,296 entries', async () => {
    const lookups: string[] = [];
    const subtree = async (level: number, index: number) => {
      lookups.push(`${level}/${index}`);
      return sha256(`${level}/${index}`);
    };
    const tree = { leaves: async () => [allLeaves[0]!], subtree };
    expect(hex(await rootHash(tree, 2 ** 32))).toBe(sha256Hex('4/0'));
    expect(lookups).toEqual(['4/0']);
    const proof = await consistencyProof(tree, 2 ** 32, 2 ** 32 + 1);
    const toRoot = await rootHash(tree, 2 ** 32 + 1);
    expect(verifyConsistency({ from: 2 ** 32, to: 2 ** 32 + 1, fromRoot: sha256('4/0'), toRoot, proof })).toBe(true);
  });

  test('fails if leaves are missing', async () => {
    const { tree } = treeOf(allLeaves.slice(0, 3));
    await expect(rootHash(tree, 4)).rejects.toThrow(RangeError);
    await expect(inclusionProof(tree, 0, 4)).rejects.toThrow(RangeError);
  });
});

describe('a proof', () => {
  const { tree } = treeOf(allLeaves);
  const root = naiveRoot(allLeaves.slice(0, 13));

  test('of inclusion does not verify if a hash is changed, removed, added or has another length', async () => {
    const proof = await inclusionProof(tree, 5, 13);
    const claim = { seq: 5, size: 13, leaf: allLeaves[5]!, root };
    expect(verifyInclusion({ ...claim, proof })).toBe(true);
    for (const bad of damaged(proof)) expect(verifyInclusion({ ...claim, proof: bad })).toBe(false);
    expect(verifyInclusion({ ...claim, proof, leaf: allLeaves[6]! })).toBe(false);
    expect(verifyInclusion({ ...claim, proof, seq: 13 })).toBe(false);
    expect(verifyInclusion({ ...claim, proof, seq: -1 })).toBe(false);
    expect(verifyInclusion({ ...claim, proof, seq: 5.5 })).toBe(false);
  });

  test('of consistency does not verify if a hash is changed, removed, added or has another length', async () => {
    const proof = await consistencyProof(tree, 6, 13);
    const claim = { from: 6, to: 13, fromRoot: naiveRoot(allLeaves.slice(0, 6)), toRoot: root };
    expect(verifyConsistency({ ...claim, proof })).toBe(true);
    for (const bad of damaged(proof)) expect(verifyConsistency({ ...claim, proof: bad })).toBe(false);
    expect(verifyConsistency({ ...claim, from: 13, to: 6, proof })).toBe(false);
  });

  test('does not verify for a tree whose proofs have another length', async () => {
    const [a, b] = [allLeaves[0]!, allLeaves[1]!];
    const two = nodeHash(a, b);
    expect(verifyInclusion({ seq: 0, size: 2, leaf: a, root: two, proof: [b] })).toBe(true);
    expect(verifyInclusion({ seq: 0, size: 1, leaf: b, root: two, proof: [a] })).toBe(false);
    expect(verifyInclusion({ seq: 0, size: 3, leaf: a, root: two, proof: [b] })).toBe(false);

    const short = { proof: await consistencyProof(tree, 3, 4), ...rootsOf(3, 4) };
    const long = { proof: await consistencyProof(tree, 7, 8), ...rootsOf(7, 8) };
    expect(verifyConsistency({ ...short, from: 3, to: 4 })).toBe(true);
    expect(verifyConsistency({ ...short, from: 7, to: 8 })).toBe(false);
    expect(verifyConsistency({ ...long, from: 3, to: 4 })).toBe(false);
  });

  test('does not verify with the same bytes cut into hashes of other lengths', () => {
    const [a, b] = [allLeaves[0]!, allLeaves[1]!];
    const moved = { leaf: a.subarray(0, 31), proof: [Buffer.concat([a.subarray(31), b])] };
    expect(verifyInclusion({ seq: 0, size: 2, root: nodeHash(a, b), ...moved })).toBe(false);
  });

  test('of consistency from size 0 or to a smaller size is an error and never verifies', async () => {
    const nothing = sha256('');
    await expect(consistencyProof(tree, 0, 0)).rejects.toThrow(RangeError);
    await expect(consistencyProof(tree, 0, 5)).rejects.toThrow(RangeError);
    await expect(consistencyProof(tree, 6, 5)).rejects.toThrow(RangeError);
    expect(verifyConsistency({ from: 0, to: 0, fromRoot: nothing, toRoot: nothing, proof: [] })).toBe(false);
    expect(verifyConsistency({ from: 0, to: 13, fromRoot: nothing, toRoot: root, proof: [] })).toBe(false);
  });

  test('of consistency between equal sizes is empty and compares the roots', () => {
    const same = { from: 13, to: 13, fromRoot: root, proof: [] };
    expect(verifyConsistency({ ...same, toRoot: root })).toBe(true);
    expect(verifyConsistency({ ...same, toRoot: sha256('') })).toBe(false);
    expect(verifyConsistency({ ...same, toRoot: root, proof: [root] })).toBe(false);
  });

  test('of a leaf or a range outside the tree is an error', async () => {
    await expect(inclusionProof(tree, 5, 5)).rejects.toThrow(RangeError);
    await expect(inclusionProof(tree, 0, 0)).rejects.toThrow(RangeError);
    await expect(compactRange(tree, 6, 5)).rejects.toThrow(RangeError);
  });
});

describe('the hash of a range', () => {
  const { tree } = treeOf(allLeaves);

  test('exists for a complete subtree and for an incomplete one at the right edge', async () => {
    expect(hex(await rangeHash(tree, 512, 768))).toBe(hex(naiveRoot(allLeaves.slice(512, 768))));
    expect(hex(await rangeHash(tree, 1_024, LEAVES))).toBe(hex(naiveRoot(allLeaves.slice(1_024))));
  });

  test.each([
    [1, 3],
    [256, 769],
    [5, 5],
    [6, 5],
    [-1, 1],
    [0.5, 1.5],
  ])('over [%d, %d), which has no node, is refused', async (from, to) => {
    await expect(rangeHash(tree, from, to)).rejects.toThrow(RangeError);
  });
});

// Joins the parts of a compact range that begins at leaf 0, as a verifier does.
function joined(parts: readonly RangePart[]): Uint8Array {
  const stack: RangePart[] = [];
  for (const part of parts) {
    stack.push(part);
    while (stack.length > 1 && mergeable(stack.at(-2)!, stack.at(-1)!)) stack.push(merged(stack.splice(-2)));
  }
  return stack.map((part) => part.hash).reduceRight((right, left) => nodeHash(left, right));
}

function mergeable(left: RangePart, right: RangePart): boolean {
  const width = right.to - right.from;
  return left.to - left.from === width && left.from % (2 * width) === 0;
}

function merged([left, right]: RangePart[]): RangePart {
  return { hash: nodeHash(left!.hash, right!.hash), from: left!.from, to: right!.to };
}

function rootsOf(from: number, to: number) {
  return { fromRoot: naiveRoot(allLeaves.slice(0, from)), toRoot: naiveRoot(allLeaves.slice(0, to)) };
}

function damaged(proof: readonly Uint8Array[]): Uint8Array[][] {
  const changed = proof.map((hash, i) => {
    const other = Uint8Array.from(hash);
    other[31]! ^= 1;
    return proof.with(i, other);
  });
  const shortened = proof.map((hash, i) => proof.with(i, hash.subarray(1)));
  return [...changed, ...shortened, proof.slice(1), proof.slice(0, -1), [...proof, proof[0]!], proof.toReversed(), []];
}
