import { sha256 } from '@cardea/crypto/ids';

/** Random choices that depend on a seed only. */
export interface Random {
  /** An integer from 0 up to, but not including, `end`. */
  below(end: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly [T, ...T[]]): T;
}

/** Makes the choices of one seed by SHA-256 in counter mode, so that they are the same on every machine and version. */
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
