import type { AuditRoom } from '@cardea/contracts/audited';
import { AppError } from '@cardea/contracts/errors';

/** Requests with more events are bulk: they may wait, and others go before them. */
export const FEW_EVENTS_MAX = 16;

/** Places for the events of this process that wait for the audit log. */
export interface AuditRooms {
  /** @throws AppError `unavailable` if no place is left */
  admit(): void;
  /** Keeps places for a few events. @throws AppError `unavailable` if none is left */
  keepFew(count: number): Room;
  /**
   * Keeps places for many events. Waits until the bulk events of others are in the log.
   * @throws AppError `unavailable` after `deadlineMs`
   */
  keepMany(count: number, deadlineMs: number): Promise<Room>;
}

/** Places that one request keeps. */
export interface Room extends AuditRoom {
  isBulk: boolean;
  /** Takes a place for an event. Call what it returns once the event waits no more. */
  take(): () => void;
}

interface Waiting {
  count: number;
  enter(): void;
}

/**
 * `places` is how many events may wait. Bulk gets half of them at most, so the other half is left for small requests,
 * whatever imports and exports are under way. A bulk request that is larger than its half enters alone.
 */
export function createAuditRooms(places: number): AuditRooms {
  const bulkPlaces = places / 2;
  const waiting: Waiting[] = [];
  let [few, bulk] = [0, 0];

  function admit(): void {
    if (few + bulk >= places) throw full();
  }

  function letIn(): void {
    while (waiting.length > 0 && (bulk === 0 || bulk + waiting[0]!.count <= bulkPlaces)) {
      const next = waiting.shift()!;
      bulk += next.count;
      next.enter();
    }
  }

  function giveFew(count: number): void {
    few -= count;
  }

  function giveBulk(count: number): void {
    bulk -= count;
    letIn();
  }

  return {
    admit,
    keepFew(count) {
      admit();
      few += count;
      return roomOf(count, { isBulk: false, give: giveFew });
    },
    async keepMany(count, deadlineMs) {
      await new Promise<void>((enter, refuse) => {
        const own = { count, enter };
        const giveUp = () => {
          const at = waiting.indexOf(own);
          if (at < 0) return;
          waiting.splice(at, 1);
          refuse(full());
        };
        waiting.push(own);
        letIn();
        if (waiting.includes(own)) setTimeout(giveUp, deadlineMs);
      });
      return roomOf(count, { isBulk: true, give: giveBulk });
    },
  };
}

function roomOf(count: number, { isBulk, give }: { isBulk: boolean; give(count: number): void }): Room {
  let kept = count;
  return {
    isBulk,
    take() {
      if (kept === 0) throw new Error('a request has more events than it has kept room for');
      kept -= 1;
      return () => give(1);
    },
    release() {
      give(kept);
      kept = 0;
    },
  };
}

function full(): AppError {
  return new AppError('unavailable', 'too many events wait for the audit log');
}
