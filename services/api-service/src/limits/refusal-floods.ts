import type { AuditAction } from '@cardea/contracts/audit-actions';
import type { AuditActor } from '@cardea/contracts/audit-event';
import { clientNetwork } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import type { Refusal } from '@cardea/contracts/refusal';
import type { SteadyClock } from '@cardea/contracts/steady-clock';
import type { SuspiciousRule } from '@cardea/contracts/suspicious';
import { createTokenBuckets } from '@cardea/http/server/token-buckets';
import type { TokenBuckets } from '@cardea/http/server/token-buckets';
import type { Logger } from '@cardea/process/logger';
import type { VaultContext } from '@cardea/vault/context';
import { recordRefusal, recordRefusals } from '@cardea/vault/refusal';

const FLOOD_MS = 1_000;
const FLOODS_MAX = 10_000;

/** So many networks may use up their records at once before strangers of all networks are counted together. */
const NETWORKS_AT_ONCE = 20;

const ALL_STRANGERS = 'all strangers';

const badTokens: ReadonlySet<SuspiciousRule> = new Set([
  'token_malformed',
  'token_too_long',
  'token_unknown_key',
  'token_forged',
]);

/** The actions of endpoints that only a signature protects. A refused request there costs a stranger nothing. */
const signedActions: ReadonlySet<AuditAction> = new Set(['webhook.receive', 'webhook.follow']);

/**
 * Records refusals. Requests cost a stranger nothing, so they must not cost a write to disk each.
 *
 * - Refusals by a limit, of tokens that Cardea did not make, and of webhooks that are not signed are grouped. The first
 *   is recorded at once. Those that follow within a second from the same network, for the same action and rule, are
 *   counted and get one record.
 * - Any other refusal of a caller without identity has its own record, twice as often as a network may be refused in a
 *   minute before it is dropped. Beyond that, the refusals of a network for one action are counted together. Networks have a limit together too:
 *   beyond it, all strangers are counted together. So a new reason to refuse strangers is bounded without a word here.
 * - Every refusal of a known caller has its own record.
 *
 * Each process counts for itself.
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
  /** By the steady clock. */
  endsAt: number;
  timer: NodeJS.Timeout;
  followed: number;
  /** What the record of those that followed is about. */
  last: Refusal;
}

export function createRefusalFloods(ctx: {
  vault: Pick<VaultContext, 'audit' | 'now' | 'steadyMs'>;
  logger: Logger;
  refusalsPerMinute: number;
}): RefusalFloods {
  const { vault, logger, refusalsPerMinute } = ctx;
  const ofNetwork = createMinuteBudget(refusalsPerMinute, vault.steadyMs);
  const ofAll = createMinuteBudget(refusalsPerMinute * NETWORKS_AT_ONCE, vault.steadyMs);
  // In the order in which they end.
  const floods = new Map<string, Flood>();
  const ending = new Set<Promise<void>>();

  function begin(key: string, refusal: Refusal, last = refusal): Promise<void> {
    end(key);
    if (floods.size >= FLOODS_MAX) end(floods.keys().next().value!);
    const first = recordRefusal(vault, refusal);
    const timer = setTimeout(() => end(key), FLOOD_MS).unref();
    floods.set(key, { first, timer, endsAt: vault.steadyMs() + FLOOD_MS, followed: 0, last });
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

  function isUnderWay(key: string): boolean {
    return (floods.get(key)?.endsAt ?? -Infinity) > vault.steadyMs();
  }

  function join(key: string, last: Refusal): Promise<void> {
    vault.audit.admit();
    const flood = floods.get(key)!;
    flood.followed += 1;
    flood.last = last;
    return flood.first;
  }

  function recordStranger(refusal: Refusal, key: string | undefined): Promise<void> {
    const network = networkOf(refusal);
    const hasOwn = ofNetwork.take(network, 1).missing === 0;
    const together = `${network}\n${refusal.action}`;
    if (!hasOwn && isUnderWay(together)) return join(together, mixed(refusal));
    if (ofAll.take('', 1).missing > 0) {
      const last = mixed({ ...refusal, action: 'request.refuse' });
      return isUnderWay(ALL_STRANGERS) ? join(ALL_STRANGERS, last) : begin(ALL_STRANGERS, refusal, last);
    }
    if (!hasOwn) return begin(together, refusal, mixed(refusal));
    return key === undefined ? recordRefusal(vault, refusal) : begin(key, refusal);
  }

  return {
    async record(refusal) {
      const key = mayFlood(refusal) ? keyOf(refusal) : undefined;
      if (key !== undefined && isUnderWay(key)) return join(key, refusal);
      if (isStranger(refusal)) return recordStranger(refusal, key);
      return key === undefined ? recordRefusal(vault, refusal) : begin(key, refusal);
    },
    async flush() {
      for (const key of floods.keys()) end(key);
      await Promise.all(ending);
    },
  };
}

// Twice as many at once: so the refusals that get a network dropped, and the first ones after that, are still told apart.
function createMinuteBudget(perMinute: number, now: SteadyClock): TokenBuckets {
  return createTokenBuckets({ perSecond: perMinute / 60, burst: 2 * perMinute, now });
}

/** Somebody who has proved nothing. The token of an ended session names its owner, and that is all it does. */
function isStranger({ caller }: Refusal): boolean {
  return caller.actor.type === 'anonymous';
}

/** For the record of refusals for several reasons, of which this is one. */
function mixed({ error, ...refusal }: Refusal): Refusal {
  return { ...refusal, error: new AppError(error.code, error.message, { rule: 'counted-together' }) };
}

function mayFlood({ caller, action, error }: Refusal): boolean {
  if (error.code === 'rate_limited') return true;
  if (actorOf({ caller, error }).type !== 'anonymous') return false;
  return signedActions.has(action) || (!!error.suspicious && badTokens.has(error.suspicious));
}

function keyOf({ caller, action, error }: Refusal): string {
  const { type, id } = actorOf({ caller, error });
  return [type, id, networkOf({ caller }), action, error.rule ?? error.code].join('\n');
}

function networkOf({ caller }: Pick<Refusal, 'caller'>): string {
  return clientNetwork(caller.source.ip ?? 'unknown');
}

function actorOf({ caller, error }: Pick<Refusal, 'caller' | 'error'>): AuditActor {
  return error.actor ?? caller.actor;
}
