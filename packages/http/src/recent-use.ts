/** What was used within the last stretch of time. */
export interface RecentUse {
  note(id: string): void;
  has(id: string): boolean;
  /** How many different ids were used. */
  distinct(): number;
  /** How often anything was used. */
  total(): number;
}

/** Both in milliseconds. A clock that steps back neither keeps nor forgets anything. */
export function createRecentUse(windowMs: number, now: () => number): RecentUse {
  // In the order of last use.
  const lastUse = new Map<string, number>();
  const uses: number[] = [];
  let [elapsed, lastNow] = [0, now()];

  function time(): number {
    const at = now();
    elapsed += Math.max(0, at - lastNow);
    lastNow = at;
    return elapsed;
  }

  function forgetOld(): void {
    const oldest = time() - windowMs;
    for (const [id, at] of lastUse) {
      if (at > oldest) break;
      lastUse.delete(id);
    }
    const kept = uses.findIndex((at) => at > oldest);
    uses.splice(0, kept === -1 ? uses.length : kept);
  }

  return {
    note(id) {
      const at = time();
      lastUse.delete(id);
      lastUse.set(id, at);
      uses.push(at);
    },
    has(id) {
      forgetOld();
      return lastUse.has(id);
    },
    distinct() {
      forgetOld();
      return lastUse.size;
    },
    total() {
      forgetOld();
      return uses.length;
    },
  };
}
