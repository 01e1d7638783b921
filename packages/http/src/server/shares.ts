import { AppError } from '@cardea/contracts/errors';

/**
 * Something that is scarce while requests are under way: bytes of memory, places in a queue, connections. Each caller
 * has a share of it, and there is a bound for all (I9). What is beyond them is refused at once and does not wait: a
 * queue of those who wait would have to be bounded in turn. With `givesWay`, clients who hold back the ends of their
 * requests cannot use up the bound for all.
 */
export interface Shares {
  /** Begins to hold something for a caller: see `callerKey`. */
  hold(key: string): Hold;
}

/** What one request holds. */
export interface Hold {
  /** Takes more. @throws AppError `rate_limited`: then nothing more is taken */
  take(amount: number): void;
  /** Takes nothing. @throws AppError `rate_limited` if `take` would throw it now */
  expect(amount: number): void;
  /**
   * From now on the request waits for its client. If it loses everything to another caller, `giveWay` is called once.
   * Returns what ends the wait.
   */
  untilArrived(giveWay: (reason: AppError) => void): () => void;
  /** Gives everything back. May be called again. */
  release(): void;
}

export interface ShareOptions {
  /** What each caller may hold. */
  each: number;
  /** What all callers may hold together. */
  together: number;
  /** For the message of a refusal: `bytes of bodies`. */
  what: string;
  /** True if requests that wait for their clients give way to others at the bound for all. */
  givesWay?: boolean;
}

/** What one request holds, as the shares see it. */
interface Held {
  key: string;
  own: number;
  giveWay?: (reason: AppError) => void;
}

/** Shares that are counted in this process. */
export function createShares({ each, together, what, givesWay = false }: ShareOptions): Shares {
  const held = new Map<string, number>();
  // The oldest first.
  const waiting = new Set<Held>();
  let all = 0;

  function refuseBeyond(by: Held, amount: number): void {
    if ((held.get(by.key) ?? 0) + amount > each) throw tooMuch(`too many ${what} of yours are under way`);
    if (all + amount <= together) return;
    const takable = [...waiting].reduce((sum, other) => (other === by ? sum : sum + other.own), 0);
    if (all + amount - takable > together) throw tooMuch(`too many ${what} of all callers are under way`);
  }

  function add(to: Held, amount: number): void {
    all += amount;
    to.own += amount;
    const now = (held.get(to.key) ?? 0) + amount;
    if (now === 0) held.delete(to.key);
    else held.set(to.key, now);
  }

  function release(from: Held): void {
    waiting.delete(from);
    add(from, -from.own);
  }

  function makeRoom(by: Held, amount: number): void {
    let missing = all + amount - together;
    while (missing > 0) {
      const next = firstToGiveWay(by);
      missing -= next.own;
      release(next);
      next.giveWay!(tooMuch(`too many ${what} of all callers are under way, and this one had not arrived`));
    }
  }

  // The oldest of the caller who holds most: those who fill the bound make room, and not a client that is only slow.
  function firstToGiveWay(by: Held): Held {
    let first: Held | undefined;
    for (const other of waiting) {
      if (other === by || other.own === 0) continue;
      if (!first || held.get(other.key)! > held.get(first.key)!) first = other;
    }
    if (!first) throw new Error('nothing gives way, although there was enough');
    return first;
  }

  return {
    hold(key) {
      const own: Held = { key, own: 0 };
      return {
        expect: (amount) => refuseBeyond(own, amount),
        take(amount) {
          refuseBeyond(own, amount);
          makeRoom(own, amount);
          add(own, amount);
        },
        untilArrived(giveWay) {
          own.giveWay = giveWay;
          if (givesWay) waiting.add(own);
          return () => void waiting.delete(own);
        },
        release: () => release(own),
      };
    },
  };
}

function tooMuch(message: string): AppError {
  return new AppError('rate_limited', message, { rule: 'under-way', retryAfterSeconds: 1 });
}
