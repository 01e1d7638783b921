import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import type { VaultContext } from '../context.ts';
import { noteWait } from '../right.ts';
import { DekNotLoaded } from './dek-cache.ts';

/**
 * What one request needs to open what is sealed. It notes when the request waits for the key service (I8), and what it has
 * unwrapped counts for its caller (I9).
 */
export interface Opening extends Pick<VaultContext, 'db' | 'keyMaterials'> {
  /** Whose keys these are in the caches: a `callerKey`, or that of strangers. */
  by: string;
  /** Runs `work` with a DEK: see `DekCache.use`. */
  useDek<T>(ref: DekRef, work: (dek: EnvelopeKey) => T): Promise<T>;
  hasWaited(): boolean;
}

/** Begins to open values for one request. Without a caller it is for strangers, who count as one. */
export function beginOpening(ctx: VaultContext, caller?: Caller): Opening {
  let waited = false;
  const by = caller ? callerKey(caller) : 'strangers';
  return {
    by,
    db: ctx.db,
    keyMaterials: ctx.keyMaterials,
    async useDek(ref, work) {
      try {
        return work(ctx.deks.get(ref));
      } catch (error) {
        if (!(error instanceof DekNotLoaded)) throw error;
      }
      waited = true;
      if (caller) noteWait(caller);
      return ctx.deks.use(ref, work, by);
    },
    hasWaited: () => waited,
  };
}
