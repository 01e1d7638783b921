/** Whose entries are the most. Undefined is the share of Cardea itself. */
export function largestShare(entries: Iterable<{ by: string | undefined }>): string | undefined {
  const counts = new Map<string | undefined, number>();
  for (const { by } of entries) counts.set(by, (counts.get(by) ?? 0) + 1);
  return [...counts].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}
