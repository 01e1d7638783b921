import { MINUTE_MS } from '@cardea/contracts/durations';

/**
 * How many vaults one run reseals in a minute, at most. kek-service limits the vaults whose DEKs a service unwraps in a
 * minute (300 by default). In profile mini, requests share this limit with the rotation, and it leaves them half.
 */
const VAULTS_PER_MINUTE = 150;

/** Counts the vaults of a run, and tells how long it must wait before the next one. */
export interface VaultPace {
  /** Notes that DEKs of a vault are unwrapped. */
  note(vaultId: string): void;
  /** How long to wait before the next vault, in milliseconds. */
  waitMs(): number;
}

/** `now` is in milliseconds, and never goes back. */
export function createVaultPace(now: () => number = () => performance.now()): VaultPace {
  let vaults = new Set<string>();
  let minuteBegan = now();
  return {
    note: (vaultId) => void vaults.add(vaultId),
    waitMs() {
      const waited = now() - minuteBegan;
      if (waited >= MINUTE_MS) {
        vaults = new Set();
        minuteBegan = now();
      }
      return vaults.size < VAULTS_PER_MINUTE ? 0 : MINUTE_MS - waited;
    },
  };
}
