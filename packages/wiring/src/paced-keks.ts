import { MINUTE_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import { SYSTEM_VAULT_ID } from '@cardea/contracts/kek-api';
import type { Keks } from '@cardea/contracts/keks';
import { createRecentUse } from '@cardea/http/recent-use';

const RETRY_AFTER_SECONDS = 5;

/**
 * The key service, asked for the DEKs of no more vaults in a minute than `vaultsPerMinute` says, so that a cold start or
 * a rotation of many vaults waits and is not taken for a thief. `now` is in milliseconds.
 */
export function pacedKeks(keks: Keks, pace: { vaultsPerMinute: () => number; now: () => number }): Keks {
  const recent = createRecentUse(MINUTE_MS, pace.now);
  return {
    ...keks,
    async unwrap(ref, wrapped) {
      if (ref.vaultId === SYSTEM_VAULT_ID) return keks.unwrap(ref, wrapped);
      if (!recent.has(ref.vaultId) && recent.distinct() >= pace.vaultsPerMinute()) {
        throw new AppError('unavailable', 'the keys of too many vaults are asked for at once: try again', {
          retryAfterSeconds: RETRY_AFTER_SECONDS,
          rule: 'unwrap-budget',
        });
      }
      recent.note(ref.vaultId);
      return keks.unwrap(ref, wrapped);
    },
  };
}
