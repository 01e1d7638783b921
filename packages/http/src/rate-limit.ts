import type { IncomingMessage } from 'node:http';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { Redis } from 'ioredis';
import { RedisStore } from 'rate-limit-redis';
import type { RedisReply } from 'rate-limit-redis';

export interface Limits {
  config: { signInsPerMinute: number; requestsPerMinute: number };
  /** Shared by all processes in full; each process counts for itself without it. */
  redis: Redis | undefined;
}

type Stranger = (req: IncomingMessage, requestId: string) => Caller;

/** Limits by client address: everything, and sign-in much lower. */
export function limitRequests({ config, redis }: Limits, stranger: Stranger): RequestHandler[] {
  const limit = (name: string, limitPerMinute: number, skip: (path: string) => boolean) =>
    rateLimit({
      windowMs: 60_000,
      limit: limitPerMinute,
      standardHeaders: 'draft-8',
      legacyHeaders: false,
      identifier: name,
      keyGenerator: (req) => stranger(req, '').source.ip ?? 'unknown',
      skip: (req) => skip(req.path),
      // Losing Redis must neither let everybody in nor lock everybody out: a minute is not limited, it is logged.
      passOnStoreError: true,
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

function redisStore(redis: Redis, name: string): RedisStore {
  return new RedisStore({
    prefix: `cardea:limit:${name}:`,
    sendCommand: (command: string, ...args: string[]) => redis.call(command, ...args) as Promise<RedisReply>,
  });
}

function tooMany(retryAfterSeconds: number): AppError {
  return new AppError('rate_limited', 'too many requests', { rule: 'rate-limit', retryAfterSeconds });
}

/** A limit that costs a lookup: for the path machines call all day. */
export interface TokenBucket {
  /** @throws AppError `rate_limited` */
  take(key: string): void;
}

const KEYS_MAX = 10_000;

/** Lets each key through `perSecond` times a second, and twice that after a pause. `clock` counts milliseconds. */
export function createTokenBucket({ perSecond, clock }: { perSecond: number; clock: () => number }): TokenBucket {
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
      if (bucket.tokens < 1) throw tooMany(1);
      bucket.tokens -= 1;
    },
  };
}
