import { sha256 } from '@cardea/crypto/ids';

/** Choices that a seed fixes. */
export interface Random {
  /** From 0 up to, but not, `end`. */
  below(end: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly [T, ...T[]]): T;
}

/** The choices of one seed: SHA-256 in counter mode, so that every machine and every version makes the same. */
export function seededRandom(seed: string): Random {
  let drawn = 0;
  const next = () => Buffer.from(sha256(`${seed}/${drawn++}`)).readUInt32BE() / 2 ** 32;
  const below = (end: number) => Math.floor(next() * end);
  return {
    below,
    chance: (probability) => next() < probability,
    pick: (items) => items[below(items.length)]!,
  };
}
