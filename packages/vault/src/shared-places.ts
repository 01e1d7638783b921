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

  /** Whether there is a place left, and `by` has less than their share. */
  hasRoom(by: string): boolean {
    return this.#values.size < this.#bounds.together && this.#takenBy(by) < this.#bounds.each;
  }

  /** Sets a value. It takes a place also if there is no room: ask `hasRoom` before. */
  set(key: string, value: V): void {
    this.delete(key);
    this.#values.set(key, value);
    this.#taken.set(value.by, this.#takenBy(value.by) + 1);
  }

  delete(key: string): void {
    const value = this.#values.get(key);
    if (!value) return;
    this.#values.delete(key);
    const left = this.#takenBy(value.by) - 1;
    if (left > 0) this.#taken.set(value.by, left);
    else this.#taken.delete(value.by);
  }

  values(): V[] {
    return [...this.#values.values()];
  }

  #takenBy(by: string): number {
    return this.#taken.get(by) ?? 0;
  }
}
