import { callerKey } from '@cardea/contracts/caller-key';
import type { Caller } from '@cardea/contracts/caller';
import type { DekRef } from '@cardea/contracts/kek-api';
import type { EnvelopeKey } from '@cardea/crypto/envelope';
import { confirmRights } from '../confirm-rights.ts';
import type { Allowed } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { DekNotLoaded } from './dek-cache.ts';

/**
 * What one request needs to open what is sealed. It notes whether the request waited for the key service, and what it has
 * unwrapped counts for its caller (I9).
 */
export interface Opening extends Pick<VaultContext, 'db' | 'keyMaterials'> {
  /** Runs `work` with a DEK: see `DekCache.use`. */
  useDek<T>(ref: DekRef, work: (dek: EnvelopeKey) => T): Promise<T>;
  hasWaited(): boolean;
  /**
   * Call it after the last value is opened and before anything is recorded or shown: a right may have been withdrawn while
   * the key service was asked (I8). Costs nothing if the request has not waited.
   * @throws as `confirmRights`
   */
  confirm(rights: Allowed[]): Promise<void>;
}

/** Begins to open values for one request. Without a caller it is for strangers, who count as one. */
export function beginOpening(ctx: VaultContext, caller?: Caller): Opening {
  let waited = false;
  return {
    db: ctx.db,
    keyMaterials: ctx.keyMaterials,
    async useDek(ref, work) {
      try {
        return work(ctx.deks.get(ref));
      } catch (error) {
        if (!(error instanceof DekNotLoaded)) throw error;
      }
      waited = true;
      return ctx.deks.use(ref, work, caller ? callerKey(caller) : 'strangers');
    },
    hasWaited: () => waited,
    async confirm(rights) {
      if (waited && caller) await confirmRights(ctx, ctx.db, caller, rights);
    },
  };
}
