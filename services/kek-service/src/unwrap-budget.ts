import { changesBetween } from '@cardea/contracts/audit-changes';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import type { AuditLog } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import { AppError } from '@cardea/contracts/errors';
import { createRecentUse } from '@cardea/http/recent-use';
import type { RecentUse } from '@cardea/http/recent-use';
import { createTurns } from '@cardea/process/in-turn';
import type { Logger } from '@cardea/process/logger';
import { writeFreezes } from './freeze-file.ts';
import type { Freezes } from './freeze-file.ts';
import { eventOf } from './records.ts';

const RETRY_AFTER_SECONDS = 60;

/** How much a service may unwrap in a minute. */
export interface UnwrapBudgetLimits {
  vaultsPerMinute: number;
  unwrapsPerMinute: number;
}

/**
 * What a thief of a service's certificate can get is bounded: a service that unwraps the DEKs of more vaults, or more
 * DEKs, than its budget may unwrap nothing more until somebody unfreezes it. That survives a restart.
 */
export interface UnwrapBudget {
  /**
   * Counts what a service is about to unwrap.
   * @throws AppError `sealed` if it is frozen, or is frozen now because of this: then nothing may be unwrapped
   */
  take(caller: Caller, vaultIds: string[]): Promise<void>;
  /** The names of the services that are frozen. */
  frozen(): string[];
  /**
   * Unfreezes a service, once that is recorded. An operator may at any time; another service once an hour, because a
   * thief may have its certificate.
   * @throws AppError `conflict` if it is not frozen; `rate_limited` before the hour is over; `unavailable`
   */
  unfreeze(caller: Caller, peer: string, reason: string): Promise<void>;
  /** Sends the records that the audit log does not have yet. @throws AppError `unavailable` */
  sendRecords(): Promise<void>;
}

interface World {
  limits: UnwrapBudgetLimits;
  path: string;
  audit: AuditLog | undefined;
  logger: Logger;
  now: () => number;
  steadyMs: SteadyClock;
}

/** `freezes` is what the file at `path` holds. */
export function createUnwrapBudget(
  { limits, path, audit, logger, now, steadyMs }: World,
  freezes: Freezes,
): UnwrapBudget {
  const recent = new Map<string, RecentUse>();
  const inTurn = createTurns();
  // By the steady clock. A time of day that is still to come counts as now: the clock was ahead when it was stored.
  const unfrozenAt = new Map(
    Object.entries(freezes.unfrozenAt).map(([peer, at]) => [peer, steadyMs() - Math.max(0, now() - at)]),
  );
  let writing: Promise<void> = Promise.resolve();

  function write(): Promise<void> {
    const written = writing.then(() => writeFreezes(path, freezes));
    writing = written.catch(() => undefined);
    return written;
  }

  function recentOf(peer: string): RecentUse {
    const known = recent.get(peer) ?? createRecentUse(MINUTE_MS, steadyMs);
    recent.set(peer, known);
    return known;
  }

  async function freeze(caller: Caller, vaults: number): Promise<void> {
    const peer = caller.actor.id;
    // Before anything is awaited: other requests of this moment are refused by it.
    freezes.frozenAt[peer] = now();
    freezes.records.push(
      eventOf(
        caller,
        {
          action: 'unwrap.freeze',
          decision: 'deny',
          reason: 'unwrap budget',
          resource: { name: peer, count: vaults },
          rule: 'unwrap-budget',
          suspicious: 'unwrap_budget',
        },
        now(),
      ),
    );
    logger.error('the unwraps of a service are frozen', { requestId: caller.requestId, peer, count: vaults });
    await write();
    await sendRecords();
  }

  let sending: Promise<void> | undefined;

  function sendRecords(): Promise<void> {
    return (sending ??= sendWaiting().finally(() => (sending = undefined)));
  }

  async function sendWaiting(): Promise<void> {
    const sent = [...freezes.records];
    if (sent.length === 0) return;
    await Promise.all(sent.map(async (event) => audit?.append(event)));
    freezes.records = freezes.records.filter((event) => !sent.includes(event));
    await write();
  }

  // In turn: side by side, each call would be the first of its hour, and each would give the service its whole budget anew.
  async function unfreeze(caller: Caller, peer: string, reason: string): Promise<void> {
    if (freezes.frozenAt[peer] === undefined)
      throw new AppError('conflict', `the unwraps of ${peer} are not frozen`, { rule: 'not-frozen' });
    const isOperator = caller.actor.id === 'operator';
    if (!isOperator) refuseTooSoon(unfrozenAt.get(peer), steadyMs());
    const changes = changesBetween({ frozen: true }, { frozen: false });
    const facts = { action: 'unwrap.unfreeze', reason, changes, resource: { name: peer } } as const;
    await audit?.append(eventOf(caller, facts, now()));
    logger.warn(facts.action, { requestId: caller.requestId, peer });
    delete freezes.frozenAt[peer];
    if (!isOperator) {
      freezes.unfrozenAt[peer] = now();
      unfrozenAt.set(peer, steadyMs());
    }
    recent.delete(peer);
    await write();
  }

  return {
    async take(caller, vaultIds) {
      const peer = caller.actor.id;
      if (freezes.frozenAt[peer] !== undefined) throw frozen(peer);
      const used = recentOf(peer);
      const vaults = used.distinct() + new Set(vaultIds.filter((id) => !used.has(id))).size;
      const unwraps = used.total() + vaultIds.length;
      if (vaults > limits.vaultsPerMinute || unwraps > limits.unwrapsPerMinute) {
        await freeze(caller, vaults).catch((error: unknown) => {
          logger.error('a freeze is not on disk or not in the audit log yet', { peer, error });
        });
        throw frozen(peer, 'unwrap_budget');
      }
      for (const id of vaultIds) used.note(id);
    },

    frozen: () => Object.keys(freezes.frozenAt),

    unfreeze: (caller, peer, reason) => inTurn(() => unfreeze(caller, peer, reason)),

    sendRecords,
  };
}

function frozen(peer: string, suspicious?: 'unwrap_budget'): AppError {
  return new AppError(
    'sealed',
    `the unwraps of ${peer} are frozen, because it unwrapped more than its budget: an admin must unfreeze them`,
    { retryAfterSeconds: RETRY_AFTER_SECONDS, rule: 'unwrap-budget', ...(suspicious && { suspicious }) },
  );
}

function refuseTooSoon(unfrozenAt: number | undefined, at: number): void {
  const leftMs = unfrozenAt === undefined ? 0 : HOUR_MS - (at - unfrozenAt);
  if (leftMs <= 0) return;
  throw new AppError('rate_limited', 'the unwraps were unfrozen less than an hour ago: an operator may do it again', {
    retryAfterSeconds: Math.ceil(leftMs / 1_000),
    rule: 'unfreeze-wait',
    suspicious: 'unwrap_budget',
  });
}
