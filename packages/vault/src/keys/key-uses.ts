import { DAY_MS } from '@cardea/contracts/durations';
import type { Db } from '@cardea/storage/db';
import type { KeyUses, NotedUse } from '../context.ts';
import { addKeyUse } from './key-use-store.ts';

const WAITING_MAX = 10_000;
// How many counts one transaction writes: in SQLite all other writers wait for it.
const PAGE = 100;

/** See `KeyUses`. */
export function createKeyUses(db: Db): KeyUses {
  let waiting = new Map<string, NotedUse>();

  function note(use: NotedUse): void {
    const id = [use.keyId, use.version, use.operation, dayOf(use.at)].join(' ');
    const known = waiting.get(id);
    // If the map is full, a new use is in the audit log only.
    if (!known && waiting.size >= WAITING_MAX) return;
    const isLater = !known || use.at >= known.at;
    waiting.set(id, { ...(isLater ? use : known), count: use.count + (known?.count ?? 0) });
  }

  return {
    note,
    async flush() {
      const uses = [...waiting.values()];
      waiting = new Map();
      let written = 0;
      try {
        for (; written < uses.length; written += PAGE) {
          const page = uses.slice(written, written + PAGE);
          await db.lockingTransaction({}, async (tx) => {
            for (const use of page) await addKeyUse(tx, { ...use, day: dayOf(use.at) });
          });
        }
      } finally {
        // Nothing, unless a page could not be written. Others may have been noted meanwhile.
        for (const use of uses.slice(written)) note(use);
      }
    },
  };
}

/** The day of a time, in days since 1970. */
export function dayOf(at: number): number {
  return Math.floor(at / DAY_MS);
}
