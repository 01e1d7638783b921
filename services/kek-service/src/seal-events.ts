import { PassThrough } from 'node:stream';
import { AppError } from '@cardea/contracts/errors';
import type { SealState } from './seal-state.ts';
import type { UnwrapBudgetLimits } from './unwrap-budget.ts';

const HEARTBEAT_MS = 1_000;
// Several replicas follow, each by one answer.
const FOLLOWERS_MAX = 64;
const UNREAD_BYTES_MAX = 4_096;
// Processes that keep to this share of the budget of their service never go beyond it.
const PACE = 0.8;

/** Tells those who hold DEKs at once when the keyring is sealed, so that they forget them. */
export interface SealEvents {
  /** A line of JSON at once, at each change and each second. @throws AppError `rate_limited` for too many of one peer */
  follow(peer: string): PassThrough;
  /** Ends every answer. */
  close(): void;
}

export function createSealEvents(seal: SealState, { vaultsPerMinute }: UnwrapBudgetLimits): SealEvents {
  const followers = new Map<PassThrough, string>();

  const countOf = (peer: string) => [...followers.values()].filter((name) => name === peer).length;

  function lineFor(peer: string): string {
    const unwrapVaultsPerMinute = Math.max(1, Math.floor((vaultsPerMinute * PACE) / countOf(peer)));
    return `${JSON.stringify({ sealed: seal.isSealed(), unwrapVaultsPerMinute })}\n`;
  }

  function tell(): void {
    for (const [follower, peer] of followers) {
      // A follower that does not read is cut off, and counts that as a loss.
      if (follower.readableLength > UNREAD_BYTES_MAX) follower.destroy();
      else follower.write(lineFor(peer));
    }
  }

  seal.onChange(tell);
  const heartbeat = setInterval(tell, HEARTBEAT_MS);
  return {
    follow(peer) {
      if (countOf(peer) >= FOLLOWERS_MAX)
        throw new AppError('rate_limited', `${FOLLOWERS_MAX} answers at once for each service`);
      const follower = new PassThrough();
      followers.set(follower, peer);
      follower.on('close', () => followers.delete(follower));
      // The others of this service share the budget with it from now on.
      tell();
      return follower;
    },
    close() {
      clearInterval(heartbeat);
      for (const follower of followers.keys()) follower.end();
    },
  };
}
