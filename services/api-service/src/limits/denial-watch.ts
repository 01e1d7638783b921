import type { AuditActor } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { ErrorCode } from '@cardea/contracts/errors';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { callerKey } from '@cardea/contracts/caller-key';

interface Rule {
  rule: SuspiciousRule;
  codes: ReadonlySet<ErrorCode>;
  /** The share of the limit of refusals at which this rule is tripped. */
  share: number;
}

const rules: Rule[] = [
  { rule: 'name_scanning', codes: new Set(['not_found']), share: 1 / 3 },
  {
    rule: 'denial_burst',
    codes: new Set([
      'access_denied',
      'unauthenticated',
      'not_found',
      'invalid_request',
      'method_not_allowed',
      'too_large',
      'unsupported_media_type',
    ]),
    share: 1,
  },
];

const WATCHED_MAX = 10_000;

/**
 * Counts refusals by account, or by network for anonymous callers. A caller that is refused too often in a minute is
 * dropped for a minute, before anything is decided.
 *
 * Each process has its own counts, so in profile full the limit applies to each process. A restart clears the counts.
 * Limits that must hold across processes are in rate-limit.ts and throttle.ts.
 */
export interface DenialWatch {
  /**
   * `known` is the account for the record, if it is not the caller.
   * @throws AppError `rate_limited` for a dropped caller
   */
  admit(caller: Caller, known?: AuditActor): void;
  /** Counts a refusal. Returns the rule that this refusal has tripped, if any. */
  count(caller: Caller, code: ErrorCode): SuspiciousRule | undefined;
}

interface Watched {
  since: number;
  counts: Map<SuspiciousRule, number>;
}

export function createDenialWatch(options: { refusalsPerMinute: number; steadyMs: SteadyClock }): DenialWatch {
  const { refusalsPerMinute, steadyMs } = options;
  // Two maps, so that many other callers cannot push out a dropped caller. Both drop their oldest entry first. In
  // `droppedUntil`, that is the entry that expires first.
  const watched = new Map<string, Watched>();
  const droppedUntil = new Map<string, number>();

  function watch(key: string, time: number): Watched {
    const known = watched.get(key);
    if (known && time - known.since < MINUTE_MS) return known;
    const fresh = { since: time, counts: new Map<SuspiciousRule, number>() };
    putLast(watched, key, fresh);
    return fresh;
  }

  return {
    admit(caller, known = caller.actor) {
      // Most callers were never refused: for them this is only one lookup.
      const left = (droppedUntil.get(callerKey(caller)) ?? 0) - steadyMs();
      if (left <= 0) return;
      throw new AppError('rate_limited', 'too many requests were refused', {
        rule: 'denial-watch',
        retryAfterSeconds: Math.ceil(left / 1000),
        actor: known,
      });
    },
    count(caller, code) {
      // A refusal that no rule counts adds no entry, so it cannot push out another caller.
      const counting = rules.filter(({ codes }) => codes.has(code));
      if (counting.length === 0) return undefined;
      const [key, time] = [callerKey(caller), steadyMs()];
      const { counts } = watch(key, time);
      const tripped = counting.filter(({ rule, share }) => {
        const count = (counts.get(rule) ?? 0) + 1;
        counts.set(rule, count);
        return count === Math.ceil(refusalsPerMinute * share) + 1;
      });
      if (tripped.length > 0) putLast(droppedUntil, key, time + MINUTE_MS);
      return tripped[0]?.rule;
    },
  };
}

function putLast<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  if (map.size >= WATCHED_MAX) map.delete(map.keys().next().value!);
  map.set(key, value);
}
