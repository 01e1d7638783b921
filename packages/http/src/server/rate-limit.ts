import type { IncomingMessage } from 'node:http';
import type { AuditActor } from '@cardea/contracts/audit-event';
import type { Caller } from '@cardea/contracts/caller';
import { clientNetwork } from '@cardea/contracts/cidr';
import { AppError } from '@cardea/contracts/errors';
import type { Logger } from '@cardea/process/logger';
import type { RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { ClientRateLimitInfo, Options } from 'express-rate-limit';
import type { Redis } from 'ioredis';
import { RedisStore } from 'rate-limit-redis';
import type { RedisReply } from 'rate-limit-redis';
import type { Exchange } from './exchange.ts';

export interface Limits {
  config: { signInsPerMinute: number; requestsPerMinute: number };
  /** Shared by all processes in full; each process counts for itself without it. */
  redis: Redis | undefined;
  logger: Logger;
}

type Stranger = (req: IncomingMessage, requestId: string) => Caller;

/** Limits by client address: everything, and sign-in much lower. */
export function limitRequests({ config, redis, logger }: Limits, stranger: Stranger): RequestHandler[] {
  const limit = (name: string, limitPerMinute: number, skip: (path: string) => boolean) =>
    rateLimit({
      windowMs: 60_000,
      limit: limitPerMinute,
      standardHeaders: 'draft-8',
      legacyHeaders: false,
      identifier: name,
      keyGenerator: (req) => clientNetwork(stranger(req, '').source.ip ?? 'unknown'),
      skip: (req) => skip(req.path),
      // Losing Redis must neither let everybody in nor lock everybody out: a minute is not limited, it is logged.
      passOnStoreError: true,
      logger: toLimiterLogger(logger),
      handler: (_req, res, next) => {
        next(tooMany(Number(res.getHeader('Retry-After') ?? 60)));
      },
      ...(redis ? { store: redisStore(redis, name) } : {}),
    });
  return [
    limit('requests', config.requestsPerMinute, (path) => path === '/healthz'),
    limit('sign-in', config.signInsPerMinute, (path) => path !== '/api/v1/auth/login'),
  ];
}

function toLimiterLogger(logger: Logger) {
  return {
    error: (error: unknown) => void logger.error('a request was not counted', { error }),
    warn: (error: unknown) => void logger.warn('a limit is set up oddly', { error }),
  };
}

function redisStore(redis: Redis, name: string): RedisStore {
  return new LateStore({
    prefix: `cardea:limit:${name}:`,
    sendCommand: (command: string, ...args: string[]) => redis.call(command, ...args) as Promise<RedisReply>,
  });
}

/** By itself the store loads its scripts once: should Redis be away at that moment, nothing would be limited ever after. */
class LateStore extends RedisStore {
  #load: (() => Promise<void>) | undefined;

  override async init(options: Options): Promise<void> {
    this.#load = () => super.init(options);
    await this.#loadOnce();
  }

  override async increment(key: string): Promise<ClientRateLimitInfo> {
    await this.#loadOnce();
    return await super.increment(key);
  }

  async #loadOnce(): Promise<void> {
    await this.#load?.();
    this.#load = undefined;
  }
}

function tooMany(retryAfterSeconds: number, actor?: AuditActor): AppError {
  const options = { rule: 'rate-limit', retryAfterSeconds, ...(actor ? { actor } : {}) };
  return new AppError('rate_limited', 'too many requests', options);
}

/**
 * The limit of the path machines call all day, by session or credential, for which a lookup must do. Says so in the same
 * header fields as the other limits (draft-ietf-httpapi-ratelimit-headers-08).
 */
export function limitReads(
  perSecond: number,
  clock = () => performance.now(),
): (exchange: Exchange, actor: AuditActor) => void {
  const bucket = createTokenBucket({ perSecond, clock });
  const policy = `"reads"; q=${perSecond}; w=1`;
  return (exchange, actor) => {
    const left = bucket.take(actor.session ?? actor.credential ?? actor.id);
    const limit = `"reads"; r=${left ?? 0}; t=1`;
    exchange.headers ??= {};
    exchange.headers['RateLimit-Policy'] = policy;
    exchange.headers['RateLimit'] = limit;
    if (left === undefined) throw tooMany(1, actor);
  };
}

/** A limit that costs a lookup. */
interface TokenBucket {
  /** How many are left after this one; undefined if there was none left for it. */
  take(key: string): number | undefined;
}

const KEYS_MAX = 10_000;

/** Lets each key through `perSecond` times a second, and twice that after a pause. `clock` counts milliseconds. */
function createTokenBucket({ perSecond, clock }: { perSecond: number; clock: () => number }): TokenBucket {
  const buckets = new Map<string, { tokens: number; at: number }>();
  const most = perSecond * 2;
  return {
    take(key) {
      const now = clock();
      let bucket = buckets.get(key);
      if (!bucket) {
        if (buckets.size >= KEYS_MAX) buckets.delete(buckets.keys().next().value!);
        bucket = { tokens: most, at: now };
        buckets.set(key, bucket);
      }
      bucket.tokens = Math.min(most, bucket.tokens + ((now - bucket.at) / 1000) * perSecond);
      bucket.at = now;
      if (bucket.tokens < 1) return undefined;
      bucket.tokens -= 1;
      return Math.floor(bucket.tokens);
    },
  };
}
