import { HOUR_MS } from '@cardea/contracts/durations';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { Progress } from '@cardea/contracts/seal-api';
import type { SealOf } from '../keyring/format.ts';
import type { Share } from './share-text.ts';

/** The shares that operators gave until now, in memory only. */
export interface GivenShares {
  /** Adds a genuine share, which is overwritten in the end; the same one again counts once. */
  add(entry: SealOf<'shamir'>, share: Share): Progress;
  /** Takes the shares of a seal out: who gets them overwrites them. */
  take(sealId: string): Uint8Array[];
  progress(): Progress[];
  /** Overwrites all shares. */
  clear(): void;
}

interface Set {
  needed: number;
  lastAt: number;
  shares: Map<number, Uint8Array>;
}

/** Shares that are not enough an hour after the last one are overwritten. */
export function createGivenShares(steadyMs: SteadyClock): GivenShares {
  const sets = new Map<string, Set>();

  function forget(sealId: string): void {
    for (const bytes of sets.get(sealId)?.shares.values() ?? []) bytes.fill(0);
    sets.delete(sealId);
  }

  function forgetOld(): void {
    for (const [sealId, { lastAt }] of sets) if (steadyMs() - lastAt > HOUR_MS) forget(sealId);
  }

  return {
    add({ id: sealId, threshold: needed }, { index, bytes }) {
      forgetOld();
      const set = sets.get(sealId) ?? { needed, lastAt: 0, shares: new Map<number, Uint8Array>() };
      // Another copy of the same share: the first must not be left in memory.
      set.shares.get(index)?.fill(0);
      set.shares.set(index, bytes);
      set.lastAt = steadyMs();
      sets.set(sealId, set);
      return { sealId, needed, given: set.shares.size };
    },
    take(sealId) {
      const shares = [...(sets.get(sealId)?.shares.values() ?? [])];
      sets.delete(sealId);
      return shares;
    },
    progress() {
      forgetOld();
      return [...sets].map(([sealId, { needed, shares }]) => ({ sealId, needed, given: shares.size }));
    },
    clear() {
      for (const sealId of sets.keys()) forget(sealId);
    },
  };
}
