/** What waits in memory for a caller. */
interface Waiting {
  /** A principal: `user:<id>`. */
  by: string;
}

/** A map with a bound for all, of which one caller takes at most a share (I9). */
export class SharedPlaces<V extends Waiting> {
  readonly #bounds: { each: number; together: number };
  readonly #values = new Map<string, V>();
  readonly #taken = new Map<string, number>();

  constructor(bounds: { each: number; together: number }) {
    this.#bounds = bounds;
  }

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  /** Sets a value. A new key is left out if its caller has their share already, or if all places are taken. */
  set(key: string, value: V): void {
    if (!this.#values.has(key) && !this.#isRoomFor(value)) return;
    this.delete(key);
    this.#values.set(key, value);
    this.#taken.set(value.by, this.#takenBy(value) + 1);
  }

  delete(key: string): void {
    const value = this.#values.get(key);
    if (!value) return;
    this.#values.delete(key);
    const left = this.#takenBy(value) - 1;
    if (left > 0) this.#taken.set(value.by, left);
    else this.#taken.delete(value.by);
  }

  values(): V[] {
    return [...this.#values.values()];
  }

  #isRoomFor(value: V): boolean {
    return this.#values.size < this.#bounds.together && this.#takenBy(value) < this.#bounds.each;
  }

  #takenBy({ by }: V): number {
    return this.#taken.get(by) ?? 0;
  }
}
