/** The states that a search has visited, each with the numbers of lost calls that were used to reach it. */
export class VisitedStates {
  readonly #used = new Map<string, number[][]>();
  size = 0;

  /**
   * Returns true if an earlier visit of the state had used no more lost calls than this one: that visit has found
   * everything that this one could find. Otherwise remembers this visit.
   */
  covers(state: string, used: number[]): boolean {
    const visits = this.#used.get(state) ?? [];
    if (visits.some((other) => other.every((count, index) => count <= used[index]!))) return true;
    visits.push(used);
    this.#used.set(state, visits);
    this.size += 1;
    return false;
  }
}
