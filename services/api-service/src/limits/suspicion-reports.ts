import type { Refusal } from '@cardea/contracts/refusal';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import type { Logger } from '@cardea/process/logger';
import type { VaultContext } from '@cardea/vault/context';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { isWanted, publish } from '@cardea/vault/webhooks/publish';

const KIND = 'security.suspicious';

/**
 * Tells receivers of webhooks about suspicious requests. The first one of a rule is told at once. Those that follow
 * within a minute are counted and told together, so that a flood of requests is not a flood of webhooks. Each process
 * counts for itself.
 */
export interface SuspicionReports {
  /** Resolves once the webhook is stored, or the refusal is counted. Logs an error of the database. */
  note(refusal: Refusal, rule: SuspiciousRule): Promise<void>;
  /** Stores what has been counted until now. */
  flush(): Promise<void>;
}

interface Counted {
  followed: number;
  last: Refusal;
  timer: NodeJS.Timeout;
}

export function createSuspicionReports(ctx: {
  vault: Pick<VaultContext, 'db' | 'now' | 'settings'>;
  logger: Logger;
}): SuspicionReports {
  const { vault, logger } = ctx;
  const counted = new Map<SuspiciousRule, Counted>();
  const storing = new Set<Promise<void>>();

  function begin(rule: SuspiciousRule, refusal: Refusal): Promise<void> {
    const timer = setTimeout(() => end(rule), MINUTE_MS).unref();
    counted.set(rule, { followed: 0, last: refusal, timer });
    return store(rule, refusal, 1);
  }

  function end(rule: SuspiciousRule): void {
    const { followed, last, timer } = counted.get(rule)!;
    clearTimeout(timer);
    counted.delete(rule);
    if (followed > 0) void store(rule, last, followed);
  }

  function store(rule: SuspiciousRule, refusal: Refusal, count: number): Promise<void> {
    const at = vault.now().getTime();
    const data = { rule, count, ...about(refusal) };
    const stored = vault.db
      .transaction((tx) => publish(vault, tx, [{ kind: KIND, data, at }]))
      .catch((error: unknown) => void logger.error('a suspicion is in the audit log only', { rule, count, error }))
      .finally(() => storing.delete(stored));
    storing.add(stored);
    return stored;
  }

  return {
    async note(refusal, rule) {
      if (!isWanted(vault, KIND)) return;
      const known = counted.get(rule);
      if (!known) return begin(rule, refusal);
      known.followed += 1;
      known.last = refusal;
    },
    async flush() {
      for (const rule of counted.keys()) end(rule);
      await Promise.all(storing);
    },
  };
}

function about({ caller, action, error }: Refusal) {
  const { type, id, name } = error.actor ?? caller.actor;
  const { ip } = caller.source;
  return { action, actor: { type, id, ...(name === undefined ? {} : { name }) }, ...(ip === undefined ? {} : { ip }) };
}
