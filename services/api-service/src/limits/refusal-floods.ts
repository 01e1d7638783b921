import type { AuditAction } from '@cardea/contracts/audit-actions';
import type { AuditActor } from '@cardea/contracts/audit-event';
import { clientNetwork } from '@cardea/contracts/cidr';
import type { Refusal } from '@cardea/contracts/refusal';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import type { Logger } from '@cardea/process/logger';
import type { VaultContext } from '@cardea/vault/context';
import { recordRefusal, recordRefusals } from '@cardea/vault/refusal';

const FLOOD_MS = 1_000;
const FLOODS_MAX = 10_000;

const badTokens: ReadonlySet<SuspiciousRule> = new Set([
  'token_malformed',
  'token_too_long',
  'token_unknown_key',
  'token_forged',
]);

/** The actions of endpoints that only a signature protects. A refused request there costs a stranger nothing. */
const signedActions: ReadonlySet<AuditAction> = new Set(['webhook.receive', 'webhook.follow']);

/**
 * Records refusals. Cheap requests must not cost a write to disk each. So refusals by a limit, refusals of tokens
 * that Cardea did not make, and refusals of webhooks that are not signed are grouped. The first is recorded at once. Those that follow within a second from the same
 * network, for the same action and rule, are counted and get one record. Every other refusal gets its own record. Each
 * process counts for itself.
 */
export interface RefusalFloods {
  /**
   * Resolves once the record of the refusal, or of the first of its group, is durable.
   * @throws AppError `unavailable`
   */
  record(refusal: Refusal): Promise<void>;
  /** Records the refusals that were counted until now. */
  flush(): Promise<void>;
}

interface Flood {
  /** Resolves once the record of the first refusal is durable. */
  first: Promise<void>;
  endsAt: number;
  timer: NodeJS.Timeout;
  followed: number;
  last: Refusal;
}

export function createRefusalFloods(ctx: {
  vault: Pick<VaultContext, 'audit' | 'now'>;
  logger: Logger;
}): RefusalFloods {
  const { vault, logger } = ctx;
  // In the order in which they end.
  const floods = new Map<string, Flood>();
  const ending = new Set<Promise<void>>();

  function begin(key: string, refusal: Refusal): Promise<void> {
    end(key);
    if (floods.size >= FLOODS_MAX) end(floods.keys().next().value!);
    const first = recordRefusal(vault, refusal);
    const timer = setTimeout(() => end(key), FLOOD_MS).unref();
    floods.set(key, { first, timer, endsAt: vault.now().getTime() + FLOOD_MS, followed: 0, last: refusal });
    return first;
  }

  function end(key: string): void {
    const flood = floods.get(key);
    if (!flood) return;
    clearTimeout(flood.timer);
    floods.delete(key);
    if (flood.followed === 0) return;
    const ended = recordFollowing(flood).finally(() => ending.delete(ended));
    ending.add(ended);
  }

  async function recordFollowing({ last, followed }: Flood): Promise<void> {
    try {
      await recordRefusals(vault, last, followed);
    } catch (error) {
      const { code, rule } = last.error;
      logger.error('refusals are not in the audit log', { code, rule, count: followed, error });
    }
  }

  return {
    async record(refusal) {
      if (!mayFlood(refusal)) return recordRefusal(vault, refusal);
      const key = keyOf(refusal);
      const flood = floods.get(key);
      if (!flood || flood.endsAt <= vault.now().getTime()) return begin(key, refusal);
      vault.audit.admit();
      flood.followed += 1;
      flood.last = refusal;
      return flood.first;
    },
    async flush() {
      for (const key of floods.keys()) end(key);
      await Promise.all(ending);
    },
  };
}

function mayFlood({ caller, action, error }: Refusal): boolean {
  if (error.code === 'rate_limited') return true;
  if (actorOf({ caller, error }).type !== 'anonymous') return false;
  return signedActions.has(action) || (!!error.suspicious && badTokens.has(error.suspicious));
}

function keyOf({ caller, action, error }: Refusal): string {
  const { type, id } = actorOf({ caller, error });
  return [type, id, clientNetwork(caller.source.ip ?? 'unknown'), action, error.rule ?? error.code].join('\n');
}

function actorOf({ caller, error }: Pick<Refusal, 'caller' | 'error'>): AuditActor {
  return error.actor ?? caller.actor;
}
