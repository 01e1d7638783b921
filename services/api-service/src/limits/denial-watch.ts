import type { AuditActor } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { clientNetwork } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import type { ErrorCode } from '@cardea/contracts/errors';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import { MINUTE_MS } from '@cardea/vault/durations';

interface Rule {
  rule: SuspiciousRule;
  codes: ReadonlySet<ErrorCode>;
  /** Of the refusals a minute that are no accident. */
  share: number;
}

const rules: Rule[] = [
  { rule: 'name_scanning', codes: new Set(['not_found']), share: 1 / 3 },
  {
    rule: 'denial_burst',
    codes: new Set(['access_denied', 'unauthenticated', 'not_found', 'invalid_request']),
    share: 1,
  },
];

const WATCHED_MAX = 10_000;

/**
 * Counts refusals by who asks, strangers by their network. Who is refused too often in a minute is dropped for the next
 * one, before any vault is looked at.
 *
 * Each process counts for itself, so with several in full somebody may be refused that many times by each of them
 * before all have dropped them; a start forgets. What must hold across processes is limited by rate-limit.ts and
 * throttle.ts.
 */
export interface DenialWatch {
  /**
   * `known` is who it is for the record, where that is not the caller.
   * @throws AppError `rate_limited` for somebody who is being dropped
   */
  admit(caller: Caller, known?: AuditActor): void;
  /** Counts a refusal; answers the rule it trips, if it is the one that does. */
  count(caller: Caller, code: ErrorCode): SuspiciousRule | undefined;
}

interface Watched {
  since: number;
  counts: Map<SuspiciousRule, number>;
}

export function createDenialWatch(options: { refusalsPerMinute: number; now: () => Date }): DenialWatch {
  const { refusalsPerMinute, now } = options;
  // Apart, so that no crowd of others makes one forget who is being dropped. In both the oldest goes first, and of
  // those dropped that is the one whose minute ends first.
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
      // Nobody who was never refused is looked at twice.
      const left = (droppedUntil.get(keyOf(caller)) ?? 0) - now().getTime();
      if (left <= 0) return;
      throw new AppError('rate_limited', 'too many requests were refused', {
        rule: 'denial-watch',
        retryAfterSeconds: Math.ceil(left / 1000),
        actor: known,
      });
    },
    count(caller, code) {
      // Whoever does nothing but what no rule counts takes the place of nobody.
      const counting = rules.filter(({ codes }) => codes.has(code));
      if (counting.length === 0) return undefined;
      const [key, time] = [keyOf(caller), now().getTime()];
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

function keyOf({ actor, source }: Caller): string {
  return actor.type === 'anonymous' ? `address:${clientNetwork(source.ip ?? 'unknown')}` : `${actor.type}:${actor.id}`;
}
