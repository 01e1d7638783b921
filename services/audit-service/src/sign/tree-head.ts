import { nodeHash } from '@cardea/crypto/hash-chain';
import { sha256 } from '@cardea/crypto/ids';
import type { RangePart } from '@cardea/crypto/merkle';

/** An RFC 6962 tree that grows one leaf at a time. It is kept as its complete subtrees, the widest first. */
export class TreeHead {
  #parts: RangePart[];

  /** `parts` cover the tree from its first leaf, as `compactRange(tree, 0, size)` returns them. */
  constructor(parts: RangePart[]) {
    this.#parts = [...parts];
  }

  get size(): number {
    return this.#parts.at(-1)?.to ?? 0;
  }

  /** Returns a copy that grows independently. */
  fork(): TreeHead {
    return new TreeHead(this.#parts);
  }

  /** Adds a leaf. Returns the subtrees that it completes, the smallest first. */
  append(leaf: Uint8Array): RangePart[] {
    const completed: RangePart[] = [];
    let part: RangePart = { hash: leaf, from: this.size, to: this.size + 1 };
    for (let left = this.#parts.at(-1); left && width(left) === width(part); left = this.#parts.at(-1)) {
      this.#parts.pop();
      part = { hash: nodeHash(left.hash, part.hash), from: left.from, to: part.to };
      completed.push(part);
    }
    this.#parts.push(part);
    return completed;
  }

  root(): Uint8Array {
    const hashes = this.#parts.map((part) => part.hash);
    return hashes.length === 0 ? sha256('') : hashes.reduceRight((right, left) => nodeHash(left, right));
  }
}

function width(part: RangePart): number {
  return part.to - part.from;
}
