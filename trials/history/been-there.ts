/** Where a search has been, and how much it had used up on the way. */
export class BeenThere {
  readonly #used = new Map<string, number[][]>();
  size = 0;

  /**
   * Whether it was there before with nothing more used up than now, and so has found whatever could be found from here.
   * Otherwise that is noted.
   */
  note(place: string, used: number[]): boolean {
    const before = this.#used.get(place) ?? [];
    if (before.some((other) => other.every((count, index) => count <= used[index]!))) return true;
    before.push(used);
    this.#used.set(place, before);
    this.size += 1;
    return false;
  }
}
