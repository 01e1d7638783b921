import { HOUR_MS } from '@cardea/contracts/durations';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { Queue as BullQueue } from 'bullmq';
import { Redis } from 'ioredis';
import { createBullmqQueue } from '../src/bullmq.ts';
import type { BullmqOptions } from '../src/bullmq.ts';
import type { FailedJob, Queue } from '../src/queue.ts';
import { connectionTo, parseRedisUrl } from '../src/redis-options.ts';
import type { RedisServer } from '../src/redis-options.ts';
import { Runs, addUntil, describeQueue, pagesUntilStopped } from './queue-conformance.ts';
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
    const queue = queues.open({ onError: ignore, checkSchedulesMs: 50 });
    let held: Promise<void> | undefined;
    await queue.work(runs.handlers({ 'session.sweep': async () => held }));
    await queue.every('outbox.relay', 100, {});
    await runs.reach('outbox.relay', 2);
    // Also while a job runs, and while another is to be tried again.
    const gate = Promise.withResolvers<void>();
    held = gate.promise;
    await queue.add('session.sweep', {});
    await runs.reach('session.sweep', 1);
    await queues.forget();
    gate.resolve();
    const before = runs.count('outbox.relay');
    await runs.reach('outbox.relay', before + 3);
    await queue.add('session.sweep', {});
    await runs.reach('session.sweep', 2);
    await queue.close();
  });

  test('gives up a job with an invalid payload at once and does not call its handler', async () => {
    const runs = new Runs();
    const failed = Promise.withResolvers<FailedJob | undefined>();
    const queue = queues.open({ onError: (_, job) => failed.resolve(job), retryDelayMs: 10 });
    const otherProgram = new BullQueue('outbox.relay', {
      connection: connectionTo(queues.where.redis),
      prefix: queues.where.prefix,
    });
    await otherProgram.add('outbox.relay', { surprise: true }, { attempts: 5 });
    await queue.work(runs.handlers());
    expect(await failed.promise).toEqual({ name: 'outbox.relay', attempt: 1, final: true });
    expect(runs.count('outbox.relay')).toBe(0);
    await Promise.all([otherProgram.close(), queue.close()]);
  });

  test('leaves a job that only a newer version knows to that version', async () => {
    const runs = new Runs();
    const queue = queues.open({ onError: ignore, retryDelayMs: 10 });
    const newer = new BullQueue('newer.job', {
      connection: connectionTo(queues.where.redis),
      prefix: queues.where.prefix,
    });
    await newer.add('newer.job', {});
    await queue.work(runs.handlers());
    await queue.add('outbox.relay', {});
    await runs.reach('outbox.relay', 1);
    expect(await newer.getWaitingCount()).toBe(1);
    await Promise.all([newer.close(), queue.close()]);
  });

  test('runs the jobs of a name one at a time in all processes, if nothing is said', async () => {
    let now = 0;
    let most = 0;
    const runs = new Runs();
    const busy = async () => {
      most = Math.max(most, (now += 1));
      await new Promise((resolve) => setTimeout(resolve, 5));
      now -= 1;
    };
    const processes = [1, 2, 3].map(() => queues.open({ onError: ignore, retryDelayMs: 10 }));
    await Promise.all(processes.map((queue) => queue.work(runs.handlers({ 'outbox.relay': busy }))));
    for (let i = 0; i < 12; i += 1) await processes[0]!.add('outbox.relay', {});
    await runs.reach('outbox.relay', 12);
    expect(most).toBe(1);
    await Promise.all(processes.map((queue) => queue.close()));
  });

  test('gives the job that it is on to another process when it closes', async () => {
    const runs = new Runs();
    const failures: unknown[] = [];
    const open = () => queues.open({ onError: (error) => failures.push(error), retryDelayMs: 3_600_000 });
    const [stopping, other] = [open(), open()];
    const stops: string[] = [];
    const handlersOf = (process: string) =>
      runs.handlers({
        'outbox.relay': async (_payload, run) => {
          stops.push(process);
          if (process === 'stopping') await pagesUntilStopped(run);
        },
      });
    await stopping.work(handlersOf('stopping'));
    await stopping.add('outbox.relay', {}, { key: 'a' });
    await runs.reach('outbox.relay', 1);
    await other.work(handlersOf('other'));
    await stopping.close();
    await runs.reach('outbox.relay', 2);
    expect([stops, failures]).toEqual([['stopping', 'other'], []]);
    await other.close();
  });

  test('runs a job again whose process was killed', async () => {
    const runs = new Runs();
    const queue = queues.open({ onError: ignore, lockMs: 600 });
    await queue.add('outbox.relay', {}, { key: 'a' });
    const killed = await startForever(queues.where);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    await queue.work(runs.handlers());
    await runs.reach('outbox.relay', 1);
    await queue.close();
  });

  describe('when the clock jumps', () => {
    let jumpMs: number;

    beforeEach(() => {
      jumpMs = 0;
      const realNow = Date.now.bind(Date);
      jest.spyOn(Date, 'now').mockImplementation(() => realNow() + jumpMs);
    });
    afterEach(() => {
      jest.restoreAllMocks();
    });

    test('two hours back, a schedule goes on within a check', async () => {
      const runs = new Runs();
      jumpMs = 2 * HOUR_MS;
      const queue = queues.open({ onError: ignore, checkSchedulesMs: 50 });
      await queue.work(runs.handlers());
      await queue.every('outbox.relay', HOUR_MS, {});
      await runs.reach('outbox.relay', 1);
      jumpMs = 0;
      await runs.reach('outbox.relay', 2);
      // Once, and then at its own pace: not with each check.
      await queue.every('session.sweep', 50, {});
      await runs.reach('session.sweep', 10);
      expect(runs.count('outbox.relay')).toBe(2);
      await queue.close();
    });

    test('two hours back, a delayed job does not wait for two hours, nor does it keep its key', async () => {
      const runs = new Runs();
      jumpMs = 2 * HOUR_MS;
      const queue = queues.open({ onError: ignore, checkSchedulesMs: 50 });
      await queue.work(runs.handlers());
      await queue.add('outbox.relay', {}, { key: 'a', delayMs: 5_000 });
      jumpMs = 0;
      await runs.reach('outbox.relay', 1);
      await addUntil(runs, 'outbox.relay', 2, () => queue.add('outbox.relay', {}, { key: 'a' }));
      await queue.close();
    });

    test('ten hours forward while no process ran, the turns that were missed are one run', async () => {
      const runs = new Runs();
      const before = queues.open({ onError: ignore, retryDelayMs: 10 });
      await before.work(runs.handlers());
      await before.every('outbox.relay', HOUR_MS, {});
      await runs.reach('outbox.relay', 1);
      await before.close();
      jumpMs = 10 * HOUR_MS;
      const after = queues.open({ onError: ignore, retryDelayMs: 10 });
      await after.work(runs.handlers());
      await after.every('outbox.relay', HOUR_MS, {});
      await runs.reach('outbox.relay', 2);
      await after.add('outbox.relay', {});
      await runs.reach('outbox.relay', 3);
      await after.add('session.sweep', {});
      await runs.reach('session.sweep', 1);
      expect(runs.count('outbox.relay')).toBe(3);
      await after.close();
    });
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
    const errors: string[] = [];
    const proxy = await openProxy(queues.where.redis.url);
    const onError = (error: unknown) => {
      errors.push(String(error));
      disconnected.resolve(error);
    };
    const queue = queues.open({ redis: { url: proxy.url }, onError });
    await queue.work(runs.handlers());
    await queue.add('outbox.relay', {});
    await runs.reach('outbox.relay', 1);
    await proxy.close();
    await disconnected.promise;
    errors.length = 0;
    await queue.close();
    // It closes by force after a second. Without force, only the limit of 5 s would end the wait, and says so.
    expect(errors).not.toContainEqual(expect.stringContaining('in time'));
  });

  test('goes on when its network has swallowed everything and recovers', async () => {
    const runs = new Runs();
    const proxy = await openProxy(queues.where.redis.url);
    const queue = queues.open({ redis: { url: proxy.url }, silentMs: 6_000, onError: ignore });
    await queue.work(runs.handlers());
    await queue.add('outbox.relay', {});
    await runs.reach('outbox.relay', 1);
    proxy.swallow();
    await queues.open({ onError: ignore }).add('outbox.relay', {});
    await runs.reach('outbox.relay', 2);
    await queue.close();
    await proxy.close();
  });

  test('refuses a job when there is no Redis, does not wait forever, and closes', async () => {
    const errors: unknown[] = [];
    const redis = { url: 'unix:///nonexistent/redis.sock' };
    const queue = createBullmqQueue({ redis, answerWithinMs: 50, onError: (error) => errors.push(error) });
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

  test('has a password and certificates beside it, which are not in the URL', () => {
    const redis = { url: 'rediss://cardea@cache.example/1', password: 'p@ss/word', ca: 'PEM' };
    const login = { username: 'cardea', password: 'p@ss/word', tls: { ca: 'PEM' } };
    expect(connectionTo(redis)).toMatchObject({ host: 'cache.example', port: 6379, db: 1, ...login });
  });

  test('of another kind is refused without showing its password', () => {
    expect(() => parseRedisUrl('http://:hunter2@localhost')).toThrow(/^a Redis URL must begin with (?!.*hunter2)/);
    expect(() => parseRedisUrl('localhost:6379')).toThrow('a Redis URL must begin with');
  });
});

function createQueues(): Omit<TestQueues, 'open'> & {
  open(options: Omit<BullmqOptions, 'redis' | 'prefix'> & { redis?: RedisServer }): Queue;
  where: { redis: RedisServer; prefix: string };
  keys(): Promise<string[]>;
  forget(): Promise<void>;
} {
  const url = process.env['CARDEA_TEST_REDIS_URL'];
  if (!url) throw new Error('CARDEA_TEST_REDIS_URL is not set: did jest run its globalSetup?');
  const where = { redis: { url }, prefix: `test-${crypto.randomUUID()}` };
  const redis = new Redis(connectionTo(where.redis));
  const opened: Queue[] = [];
  const keys = () => redis.keys(`${where.prefix}:*`);
  const forget = async () => {
    const found = await keys();
    if (found.length > 0) await redis.del(found);
  };
  return {
    where,
    open(options) {
      const queue = createBullmqQueue({ ...where, ...options });
      opened.push(queue);
      return queue;
    },
    keys,
    forget,
    // A test that fails leaves its queues open, and they would keep jest from its end.
    remove: async () => {
      await Promise.all(opened.map((queue) => queue.close()));
      await forget();
      await redis.quit();
    },
  };
}

/** Starts a process that takes a job and never ends it. Resolves once it has the job. */
async function startForever(where: { redis: RedisServer; prefix: string }): Promise<ChildProcess> {
  const script = `
    import { createBullmqQueue } from ${JSON.stringify(new URL('../src/bullmq.ts', import.meta.url).href)};
    const queue = createBullmqQueue({ ...${JSON.stringify(where)}, onError: console.error, lockMs: 600 });
    await queue.work({ 'outbox.relay': () => { process.send('running'); return new Promise(() => {}); } });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 2, 'ipc'],
  });
  await once(child, 'message');
  return child;
}

/** Opens a proxy between a queue and Redis. Its end cuts the queue off from Redis. */
async function openProxy(redisUrl: string): Promise<{ url: string; swallow(): void; close(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'cardea-jobs-'));
  const sockets = new Set<Socket>();
  const pairs: [Socket, Socket][] = [];
  const { path, host = 'localhost', port = 6379 } = parseRedisUrl(redisUrl);
  const server = createServer((client) => {
    const redis = path === undefined ? createConnection(port, host) : createConnection(path);
    for (const socket of [client, redis]) sockets.add(socket.on('error', () => undefined));
    client.pipe(redis).pipe(client);
    pairs.push([client, redis]);
  });
  server.listen(join(folder, 'proxy.sock'));
  await once(server, 'listening');
  return {
    url: `unix://${folder}/proxy.sock`,
    /** Lets nothing more pass on the connections that exist, and closes none of them. */
    swallow() {
      for (const [client, redis] of pairs) {
        client.unpipe(redis).resume();
        redis.unpipe(client).resume();
      }
    },
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await rm(folder, { recursive: true });
    },
  };
}
