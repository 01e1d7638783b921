import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Queue as BullQueue } from 'bullmq';
import { Redis } from 'ioredis';
import { createBullmqQueue } from '../src/bullmq.ts';
import type { FailedJob } from '../src/queue.ts';
import { parseRedisUrl } from '../src/redis-options.ts';
import { Runs, describeQueue } from './queue-conformance.ts';
import type { TestQueues } from './queue-conformance.ts';

const ignore = () => undefined;

describeQueue('BullMQ', createQueues);

describe('a BullMQ queue', () => {
  let queues: ReturnType<typeof createQueues>;

  beforeEach(() => {
    queues = createQueues();
  });

  afterEach(() => queues.remove());

  test('runs a schedule once per period if two processes registered it', async () => {
    const runs = new Runs();
    const processes = [1, 2].map(() => queues.open({ onError: ignore, retryDelayMs: 10 }));
    const begun = performance.now();
    await Promise.all(processes.map((queue) => queue.every('outbox.relay', 300, {})));
    await Promise.all(processes.map((queue) => queue.work(runs.handlers())));
    await runs.reach('outbox.relay', 4);
    expect(performance.now() - begun).toBeGreaterThan(590);
    await Promise.all(processes.map((queue) => queue.close()));
  });

  test('does not run a schedule early when it is registered again', async () => {
    const runs = new Runs();
    const queue = queues.open({ onError: ignore, retryDelayMs: 10 });
    await queue.work(runs.handlers());
    await queue.every('outbox.relay', 3_600_000, {});
    await runs.reach('outbox.relay', 1);
    for (let i = 0; i < 5; i += 1) await queue.every('outbox.relay', 3_600_000, {});
    await queue.add('session.sweep', {});
    await runs.reach('session.sweep', 1);
    expect(runs.count('outbox.relay')).toBe(1);
    await queue.close();
  });

  test('restores its schedules after Redis has lost its data', async () => {
    const runs = new Runs();
    const queue = createBullmqQueue({ ...queues.where, onError: ignore, reregisterMs: 50 });
    await queue.work(runs.handlers());
    await queue.every('outbox.relay', 100, {});
    await runs.reach('outbox.relay', 2);
    await queues.forget();
    const before = runs.count('outbox.relay');
    await runs.reach('outbox.relay', before + 3);
    await queue.close();
  });

  test('gives up a job with an invalid payload at once and does not call its handler', async () => {
    const runs = new Runs();
    const failed = Promise.withResolvers<FailedJob | undefined>();
    const queue = queues.open({ onError: (_, job) => failed.resolve(job), retryDelayMs: 10 });
    const otherProgram = new BullQueue('jobs', {
      connection: parseRedisUrl(queues.where.redisUrl),
      prefix: queues.where.prefix,
    });
    await otherProgram.add('outbox.relay', { surprise: true }, { attempts: 5 });
    await queue.work(runs.handlers());
    expect(await failed.promise).toEqual({ name: 'outbox.relay', attempt: 1, final: true });
    expect(runs.count('outbox.relay')).toBe(0);
    await Promise.all([otherProgram.close(), queue.close()]);
  });

  test('tries a job again if it has no handler for it', async () => {
    const failed = Promise.withResolvers<FailedJob | undefined>();
    const queue = queues.open({ onError: (_, job) => failed.resolve(job), retryDelayMs: 10 });
    const newer = new BullQueue('jobs', {
      connection: parseRedisUrl(queues.where.redisUrl),
      prefix: queues.where.prefix,
    });
    await newer.add('newer.job', {}, { attempts: 5, backoff: 3_600_000 });
    await queue.work(new Runs().handlers());
    expect(await failed.promise).toEqual({ name: 'newer.job', attempt: 1, final: false });
    await Promise.all([newer.close(), queue.close()]);
  });

  test('keeps nothing in Redis of a job that has ended', async () => {
    const runs = new Runs();
    const queue = queues.open({ onError: ignore, retryDelayMs: 10 });
    await queue.work(runs.handlers());
    await queue.add('outbox.relay', {}, { key: 'a' });
    await runs.reach('outbox.relay', 1);
    await queue.close();
    expect(await queues.keys()).not.toContainEqual(expect.stringMatching(/:\d+$|:de:|:completed$|:failed$/));
  });

  test('closes within seconds when Redis does not answer', async () => {
    const runs = new Runs();
    const disconnected = Promise.withResolvers<unknown>();
    const proxy = await openProxy(queues.where.redisUrl);
    const queue = createBullmqQueue({ ...queues.where, redisUrl: proxy.url, onError: disconnected.resolve });
    await queue.work(runs.handlers());
    await queue.add('outbox.relay', {});
    await runs.reach('outbox.relay', 1);
    await proxy.close();
    await disconnected.promise;
    const begun = performance.now();
    await queue.close();
    // It closes by force after a second. Without force only the limit of 5 s would end the wait.
    expect(performance.now() - begun).toBeLessThan(4000);
  });

  test('refuses a job when there is no Redis, does not wait forever, and closes', async () => {
    const errors: unknown[] = [];
    const redisUrl = 'unix:///nonexistent/redis.sock';
    const queue = createBullmqQueue({ redisUrl, answerWithinMs: 50, onError: (error) => errors.push(error) });
    await expect(queue.add('outbox.relay', {})).rejects.toThrow('Redis did not answer in time');
    expect(errors).not.toEqual([]);
    await queue.close();
  });
});

describe('a Redis URL', () => {
  test.each([
    ['redis://localhost', { host: 'localhost', port: 6379 }],
    ['redis://u:p%40ss@[::1]:7000/2', { host: '::1', port: 7000, username: 'u', password: 'p@ss', db: 2 }],
    ['rediss://:pw@cache.example', { host: 'cache.example', port: 6379, password: 'pw', tls: {} }],
    ['unix:///run/redis%20x.sock?db=3', { path: '/run/redis x.sock', db: 3 }],
  ])('%s is read', (url, options) => {
    expect(parseRedisUrl(url)).toEqual(options);
  });

  test('of another kind is refused without showing its password', () => {
    expect(() => parseRedisUrl('http://:hunter2@localhost')).toThrow(/^a Redis URL must begin with (?!.*hunter2)/);
    expect(() => parseRedisUrl('localhost:6379')).toThrow('a Redis URL must begin with');
  });
});

function createQueues(): TestQueues & {
  where: { redisUrl: string; prefix: string };
  keys(): Promise<string[]>;
  forget(): Promise<void>;
} {
  const redisUrl = process.env['CARDEA_TEST_REDIS_URL'];
  if (!redisUrl) throw new Error('CARDEA_TEST_REDIS_URL is not set: did jest run its globalSetup?');
  const where = { redisUrl, prefix: `test-${crypto.randomUUID()}` };
  const redis = new Redis(parseRedisUrl(redisUrl));
  const keys = () => redis.keys(`${where.prefix}:*`);
  const forget = async () => {
    const found = await keys();
    if (found.length > 0) await redis.del(found);
  };
  return {
    where,
    open: (options) => createBullmqQueue({ ...where, ...options }),
    keys,
    forget,
    remove: async () => {
      await forget();
      await redis.quit();
    },
  };
}

/** Opens a proxy between a queue and Redis. Its end cuts the queue off from Redis. */
async function openProxy(redisUrl: string): Promise<{ url: string; close(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'cardea-jobs-'));
  const sockets = new Set<Socket>();
  const { path, host = 'localhost', port = 6379 } = parseRedisUrl(redisUrl);
  const server = createServer((client) => {
    const redis = path === undefined ? createConnection(port, host) : createConnection(path);
    for (const socket of [client, redis]) sockets.add(socket.on('error', () => undefined));
    client.pipe(redis).pipe(client);
  });
  server.listen(join(folder, 'proxy.sock'));
  await once(server, 'listening');
  return {
    url: `unix://${folder}/proxy.sock`,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await rm(folder, { recursive: true });
    },
  };
}
