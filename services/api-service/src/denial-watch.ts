import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { ErrorCode } from '@cardea/contracts/errors';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';

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

const WINDOW_MS = 60_000;
const WATCHED_MAX = 10_000;

/**
 * Counts refusals by who asks (strangers by address), each process for itself. Who is refused too often in a minute is
 * dropped for the next one, before any vault is looked at, and the refusal that was one too many is recorded with the
 * rule it tripped.
 */
export interface DenialWatch {
  /** @throws AppError `rate_limited` for somebody who is being dropped */
  admit(caller: Caller): void;
  /** Counts a refusal; answers the rule it trips, if it is the one that does. */
  count(caller: Caller, code: ErrorCode): SuspiciousRule | undefined;
}

interface Watched {
  since: number;
  counts: Map<SuspiciousRule, number>;
  droppedUntil: number;
}

export function createDenialWatch(options: { refusalsPerMinute: number; now: () => Date }): DenialWatch {
  const { refusalsPerMinute, now } = options;
  const watched = new Map<string, Watched>();

  function begin(caller: Caller): Watched {
    const key = keyOf(caller);
    const time = now().getTime();
    const known = watched.get(key);
    if (known && time - known.since < WINDOW_MS) return known;
    if (watched.size >= WATCHED_MAX) watched.delete(watched.keys().next().value!);
    const fresh = { since: time, counts: new Map<SuspiciousRule, number>(), droppedUntil: known?.droppedUntil ?? 0 };
    watched.delete(key);
    watched.set(key, fresh);
    return fresh;
  }

  return {
    admit(caller) {
      // Nobody who was never refused is looked at twice.
      const left = (watched.get(keyOf(caller))?.droppedUntil ?? 0) - now().getTime();
      if (left <= 0) return;
      throw new AppError('rate_limited', 'too many requests were refused', {
        rule: 'denial-watch',
        retryAfterSeconds: Math.ceil(left / 1000),
      });
    },
    count(caller, code) {
      const one = begin(caller);
      for (const { rule, codes, share } of rules) {
        if (!codes.has(code)) continue;
        const count = (one.counts.get(rule) ?? 0) + 1;
        one.counts.set(rule, count);
        if (count !== Math.ceil(refusalsPerMinute * share) + 1) continue;
        one.droppedUntil = now().getTime() + WINDOW_MS;
        return rule;
      }
      return undefined;
    },
  };
}

function keyOf({ actor, source }: Caller): string {
  return actor.type === 'anonymous' ? `address:${source.ip}` : `${actor.type}:${actor.id}`;
}
