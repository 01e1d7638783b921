import { DAY_MS } from '@cardea/contracts/durations';
import type { Db } from '@cardea/storage/db';
import type { KeyUses, NotedUse } from '../context.ts';
import { SharedPlaces } from '../shared-places.ts';
import { addKeyUse } from './key-use-store.ts';

const WAITING_MAX = { each: 1_000, together: 10_000 };
// How many counts one transaction writes: in SQLite all other writers wait for it.
const PAGE = 100;

/** See `KeyUses`. */
export function createKeyUses(db: Db): KeyUses {
  let waiting = new SharedPlaces<NotedUse>(WAITING_MAX);

  function note(use: NotedUse): void {
    const id = [use.keyId, use.version, use.operation, dayOf(use.at)].join(' ');
    const known = waiting.get(id);
    const isLater = !known || use.at >= known.at;
    waiting.set(id, { ...(isLater ? use : known), count: use.count + (known?.count ?? 0) });
  }

  return {
    note,
    hasRoom: (by) => waiting.hasRoom(by),
    async flush() {
      const uses = waiting.values();
      waiting = new SharedPlaces(WAITING_MAX);
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
