import { MINUTE_MS } from '@cardea/contracts/durations';
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
import { createTokenBuckets } from './token-buckets.ts';

export interface Limits {
  config: { signInsPerMinute: number; requestsPerMinute: number };
  /** Shared by all processes in the full profile. Without Redis each process counts for itself. */
  redis: Redis | undefined;
  logger: Logger;
}

type Stranger = (req: IncomingMessage, requestId: string) => Caller;

/** Limits requests by client address. Sign-in has a much lower limit than the rest. */
export function limitRequests({ config, redis, logger }: Limits, stranger: Stranger): RequestHandler[] {
  const limit = (name: string, limitPerMinute: number, skip: (path: string) => boolean) =>
    rateLimit({
      windowMs: MINUTE_MS,
      limit: limitPerMinute,
      standardHeaders: 'draft-8',
      legacyHeaders: false,
      identifier: name,
      keyGenerator: (req) => clientNetwork(stranger(req, '').source.ip ?? 'unknown'),
      skip: (req) => skip(req.path),
      // Losing Redis must neither let everybody in nor lock everybody out. A minute is then logged and not limited.
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
    warn: (error: unknown) => void logger.warn('a rate limit is not configured as it should be', { error }),
  };
}

function redisStore(redis: Redis, name: string): RedisStore {
  return new LateStore({
    prefix: `cardea:limit:${name}:`,
    sendCommand: (command: string, ...args: string[]) => redis.call(command, ...args) as Promise<RedisReply>,
  });
}

/** A plain RedisStore loads its scripts once. If Redis did not answer then, nothing would ever be limited again. */
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
  const options = { rule: 'rate-limit', retryAfterSeconds, ...(actor ? { actor } : {}) } as const;
  return new AppError('rate_limited', 'too many requests', options);
}

/**
 * Limits the path that machines call all day, by session or credential: `perSecond` requests a second, and twice that
 * after a pause. The limit must cost no more than one lookup. Its answers have the same header fields as those of the
 * other limits (draft-ietf-httpapi-ratelimit-headers-08). `clock` counts milliseconds.
 */
export function limitReads(
  perSecond: number,
  clock = () => performance.now(),
): (exchange: Exchange, actor: AuditActor) => void {
  const buckets = createTokenBuckets({ perSecond, burst: perSecond * 2, now: clock });
  const policy = `"reads"; q=${perSecond}; w=1`;
  return (exchange, actor) => {
    const { left, missing } = buckets.take(actor.session ?? actor.credential ?? actor.id, 1);
    // After a pause twice the quota may come at once. What is left never says more than the quota does (section 4.1).
    const limit = `"reads"; r=${Math.min(left, perSecond)}; t=1`;
    exchange.headers ??= {};
    exchange.headers['RateLimit-Policy'] = policy;
    exchange.headers['RateLimit'] = limit;
    if (missing > 0) throw tooMany(1, actor);
  };
}
