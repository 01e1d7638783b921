import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { startRedis } from '@cardea/testkit/servers';
import type { RedisServer } from '@cardea/testkit/servers';
import { Redis } from 'ioredis';
import { parse } from 'yaml';
import { expectEventually } from '../access/probes.ts';

const PASSWORD = 'of-both-users';

const folder = mkdtempSync(join(tmpdir(), 'cardea-redis-users-'));
const ca = join(folder, 'ca.pem');
let redis: RedisServer;
let superuser: Redis;

beforeAll(async () => {
  await ensureCertificates(folder, new Date(), { servers: { redis: ['localhost', '127.0.0.1'] } });
  redis = await startRedis({
    tls: { ca, cert: join(folder, 'redis.pem'), key: join(folder, 'redis.key') },
    password: PASSWORD,
  });
  superuser = new Redis(new URL(redis.url).pathname);
});
afterAll(async () => {
  superuser.disconnect();
  await redis.stop();
  rmSync(folder, { recursive: true });
});

/** What Redis answers to one command of this user: `allowed`, or the first word of its error. */
async function answerTo(username: string, [command, ...words]: string[]): Promise<string> {
  const [host, port] = redis.tlsHost!.split(':');
  const tls = { ca: readFileSync(ca, 'utf8') };
  const client = new Redis({ host, port: Number(port), tls, username, password: PASSWORD, enableReadyCheck: false });
  try {
    return await client.call(command!, ...words).then(
      () => 'allowed',
      (error: Error) => error.message.split(' ')[0]!,
    );
  } finally {
    client.disconnect();
  }
}

describe('a user of Redis', () => {
  const load = "return redis.call('set', KEYS[1], '1')";

  test.each<[string, string]>([
    ['cardea', 'set cardea:limit:x 1'],
    ['cardea', 'get cardea:limit:x'],
    ['cardea', 'info server'],
    ['cardea', 'client setname worker'],
    ['cardea', 'bzpopmin cardea:job:marker 0.01'],
    ['exporter', 'info'],
    ['exporter', 'slowlog len'],
    ['exporter', 'config get maxmemory'],
    ['health', 'ping'],
  ])('%s may: %s', async (user, command) => {
    expect(await answerTo(user, command.split(' '))).toBe('allowed');
  });

  test('cardea may send scripts, which have its rights and no more', async () => {
    const run = (key: string) => answerTo('cardea', ['eval', load, '1', key]);
    expect(await answerTo('cardea', ['script', 'load', load])).toBe('allowed');
    expect(await run('cardea:x')).toBe('allowed');
    expect(await run('other')).toBe('NOPERM');
    const hidden = (code: string) => answerTo('cardea', ['eval', code, '0']);
    expect(await hidden("return redis.call('set', 'other', '1')")).not.toBe('allowed');
    expect(await hidden("return redis.call('flushall')")).not.toBe('allowed');
    expect(await superuser.exists('other')).toBe(0);
  });

  test.each<[string, string]>([
    ['cardea', 'set other 1'],
    ['cardea', 'rename cardea:x other'],
    ['cardea', 'keys *'],
    ['cardea', 'scan 0'],
    ['cardea', 'randomkey'],
    ['cardea', 'dbsize'],
    ['cardea', 'flushall'],
    ['cardea', 'flushdb'],
    ['cardea', 'shutdown nosave'],
    ['cardea', 'config set maxmemory-policy allkeys-lru'],
    ['cardea', 'acl setuser cardea +@all'],
    ['cardea', 'client kill type normal'],
    ['cardea', 'replicaof 127.0.0.1 1'],
    ['cardea', 'module list'],
    ['cardea', 'save'],
    ['cardea', 'script flush'],
    ['cardea', 'function list'],
    ['cardea', 'publish cardea x'],
    ['cardea', 'monitor'],
    ['exporter', 'get cardea:limit:x'],
    ['exporter', 'config set maxmemory 1'],
    ['exporter', 'scan 0'],
    ['exporter', 'subscribe x'],
    ['health', 'info'],
    ['health', 'get cardea:limit:x'],
    ['health', 'acl whoami'],
    ['health', 'publish x y'],
  ])('%s may not: %s', async (user, command) => {
    expect(await answerTo(user, command.split(' '))).toBe('NOPERM');
  });
});

describe('the check of the container', () => {
  const { services } = parse(
    readFileSync(fileURLToPath(new URL('../../docker-compose.full.yml', import.meta.url)), 'utf8'),
    { merge: true },
  ) as { services: { redis: { healthcheck: { test: [string, string] } } } };
  const [kind, script] = services.redis.healthcheck.test;

  async function isHealthy(): Promise<boolean> {
    const port = redis.tlsHost!.split(':')[1]!;
    const here = script.replace('/run/cardea/ca.pem', ca).replace('redis-cli', `redis-cli -p ${port}`);
    return await promisify(execFile)('sh', ['-c', here]).then(
      () => true,
      () => false,
    );
  }

  test('is well while Redis answers', async () => {
    expect([kind, await isHealthy()]).toEqual(['CMD-SHELL', true]);
  });

  test('is not while a script keeps Redis busy', async () => {
    await superuser.config('SET', 'busy-reply-threshold', '50');
    const other = new Redis(new URL(redis.url).pathname);
    const endless = other.call('eval', 'while true do end', '0').catch((error: Error) => error.message);
    await expectEventually(async () => {
      await expect(superuser.ping()).rejects.toThrow(/^BUSY/);
    });
    expect(await isHealthy()).toBe(false);
    await superuser.script('KILL');
    expect(await endless).toMatch(/killed/i);
    expect(await isHealthy()).toBe(true);
    other.disconnect();
  });

  test('is not if Redis lacks its users, or is not there', async () => {
    // As in the file of users. Redis asks for a password then, which is no sign that it works.
    await superuser.acl('SETUSER', 'default', 'off');
    expect(await isHealthy()).toBe(true);
    await superuser.acl('DELUSER', 'health');
    expect(await isHealthy()).toBe(false);
    await redis.down();
    expect(await isHealthy()).toBe(false);
  });
});
