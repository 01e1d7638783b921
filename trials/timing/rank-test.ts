/** How much two samples differ. */
export interface RankTest {
  /** In how many of all pairs the value of the first sample is greater than that of the second. Ties count half. */
  u: number;
  /** How likely two samples of the same distribution differ at least as much, two-sided. */
  p: number;
}

/**
 * The Mann-Whitney U test, which needs no assumption about the distribution of times. Ranks with ties averaged, and the
 * normal approximation with the correction for ties, good for samples of twenty and more.
 */
export function mannWhitney(first: number[], second: number[]): RankTest {
  const [n1, n2] = [first.length, second.length];
  const n = n1 + n2;
  const { ranks, ties } = rank([...first, ...second]);
  const rankSum = ranks.slice(0, n1).reduce((sum, value) => sum + value, 0);
  const u = rankSum - (n1 * (n1 + 1)) / 2;
  const variance = ((n1 * n2) / 12) * (n + 1 - ties / (n * (n - 1)));
  const z = variance === 0 ? 0 : (u - (n1 * n2) / 2) / Math.sqrt(variance);
  return { u, p: complementaryError(Math.abs(z) / Math.SQRT2) };
}

/** The middle value, or the mean of the two middle values if their number is even. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The ranks of the values, from 1, in the order given. `ties` is the sum of t³ - t over groups of t equal values. */
function rank(values: number[]): { ranks: number[]; ties: number } {
  const order = values.map((_, index) => index).toSorted((a, b) => values[a]! - values[b]!);
  const ranks = Array.from({ length: values.length }, () => 0);
  let ties = 0;
  for (let from = 0; from < order.length;) {
    let to = from;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to += 1;
    for (const index of order.slice(from, to)) ranks[index] = (from + 1 + to) / 2;
    ties += (to - from) ** 3 - (to - from);
    from = to;
  }
  return { ranks, ties };
}

/** erfc(x) for x ≥ 0, exact to 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
function complementaryError(x: number): number {
  const t = 1 / (1 + 0.327_591_1 * x);
  const factors = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
  return factors.reduce((sum, factor) => sum * t + factor, 0) * t * Math.exp(-x * x);
}
