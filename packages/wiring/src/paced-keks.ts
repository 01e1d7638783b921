import { MINUTE_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import { SYSTEM_VAULT_ID } from '@cardea/contracts/kek-api';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { Keks } from '@cardea/contracts/keks';
import { createRecentUse } from '@cardea/http/recent-use';

const RETRY_AFTER_SECONDS = 5;

/**
 * The key service, asked for the DEKs of no more vaults in a minute than `vaultsPerMinute` says, so that a cold start or
 * a rotation of many vaults waits and is not taken for a thief. A caller may use as many of these vaults as it leaves to
 * the others: one caller gets half of them, two get a third each, and something is always left (I9).
 */
export function pacedKeks(keks: Keks, pace: { vaultsPerMinute: () => number; steadyMs: SteadyClock }): Keks {
  const recent = createRecentUse(MINUTE_MS, pace.steadyMs);
  const usedBy = new Map<string, string | undefined>();

  function share(by: string): number {
    let used = 0;
    for (const [vaultId, user] of usedBy) {
      if (!recent.has(vaultId)) usedBy.delete(vaultId);
      else if (user === by) used += 1;
    }
    return used;
  }

  function refuseBeyond(by: string | undefined): void {
    const left = pace.vaultsPerMinute() - recent.distinct();
    if (left <= 0) throw tooMany('unavailable', 'the keys of too many vaults are asked for at once: try again');
    if (by === undefined || share(by) < left) return;
    throw tooMany('rate_limited', 'you ask for the keys of too many vaults at once: try again');
  }

  return {
    ...keks,
    async unwrap(ref, wrapped, by) {
      const { vaultId } = ref;
      if (vaultId === SYSTEM_VAULT_ID) return keks.unwrap(ref, wrapped);
      if (!recent.has(vaultId)) {
        refuseBeyond(by);
        usedBy.set(vaultId, by);
      }
      recent.note(vaultId);
      return keks.unwrap(ref, wrapped);
    },
  };
}

function tooMany(code: 'unavailable' | 'rate_limited', message: string): AppError {
  return new AppError(code, message, { retryAfterSeconds: RETRY_AFTER_SECONDS, rule: 'unwrap-budget' });
}
