import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { BODY_BYTES_MAX } from './route.ts';
import type { Route } from './route.ts';
import { createShares } from './shares.ts';
import type { Hold } from './shares.ts';

const MIB = 1024 * 1024;

// A body is in memory from its first byte until its request is answered: as bytes, as text and as what was parsed, so
// about three times. Large bodies have a bound of their own, so that imports leave room for everything else. They do not
// give way: each has a right in its vault, takes long to arrive, and would be sent again, so imports would stop imports.
const BODIES = { each: 8 * MIB, together: 32 * MIB, what: 'bytes of requests', givesWay: true };
const LARGE_BODIES = { each: 16 * MIB, together: 48 * MIB, what: 'bytes of bulk requests' };

// Sign-ins and their kind. Each has a small body, whose end a client can hold back for 30 s (`serve.ts`). Clients of 16
// networks can fill the bound so, and then give way to those whose bodies arrive.
const STRANGERS = { each: 64, together: 1_024, what: 'requests without a token', givesWay: true };

/** What a request holds while it is under way. */
export interface Admitted {
  /** To be released once the request is answered. It gives way to others while its body has not arrived. */
  held: Hold;
  /** True if the bytes of its body are what is held. Those of strangers are not counted, because so many are few. */
  countsBytes: boolean;
}

/** The bounds of what callers have under way in this process: see `Shares`. */
export interface Bounds {
  /** Begins to count a request, before its body is read. @throws AppError `rate_limited` */
  admit(caller: Caller, route: Route): Admitted;
}

export function createBounds(): Bounds {
  const bodies = createShares(BODIES);
  const largeBodies = createShares(LARGE_BODIES);
  const strangers = createShares(STRANGERS);
  return {
    admit(caller, { endpoint, bodyBytesMax }) {
      const key = callerKey(caller);
      if (endpoint.auth !== 'none') {
        return { held: (bodyBytesMax > BODY_BYTES_MAX ? largeBodies : bodies).hold(key), countsBytes: true };
      }
      const place = strangers.hold(key);
      // Health, documents and what follows a webhook are answered at once.
      if (endpoint.method === 'POST') place.take(1);
      return { held: place, countsBytes: false };
    },
  };
}
