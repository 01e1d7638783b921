import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DAY_MS } from '@cardea/contracts/durations';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { findFreePort, startPostgres, startRedis } from '@cardea/testkit/servers';
import type { PostgresServer, RedisServer } from '@cardea/testkit/servers';
import { prepareTestSystem } from '@cardea/testkit/system';
import type { PreparedSystem, ServiceName } from '@cardea/testkit/system';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { expectEventually, readiness } from '../access/probes.ts';

const REDIS_PASSWORD = 'a-password-of-Redis';

let folder: string;
let postgres: PostgresServer;
let redis: RedisServer;
let system: PreparedSystem;
let started: Started[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-late-'));
  await ensureCertificates(folder, new Date());
  const tls = { ca: file('ca.pem'), cert: file('operator.pem'), key: file('operator.key') };
  [postgres, redis] = await Promise.all([startPostgres({ tls }), startRedis({ tls, password: REDIS_PASSWORD })]);
  system = prepareTestSystem('full', {}, { postgres, redis, caFile: tls.ca, redisPassword: REDIS_PASSWORD });
  await system.start();
});
afterEach(async () => {
  await Promise.all(started.map(({ end }) => end()));
  started = [];
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await Promise.all([postgres.stop(), redis.stop()]);
  await rm(folder, { recursive: true });
});

const file = (name: string) => join(folder, name);

interface Started {
  readiness(): Promise<{ status: number; failed: string[] }>;
  isAlive(): Promise<boolean>;
  output(): string;
  process: ChildProcess;
  /** Sends a signal and resolves to the exit code. */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Runs a service in a process of its own, with the settings of the test system and those given. */
async function start(name: ServiceName | 'worker', settings: NodeJS.ProcessEnv = {}): Promise<Started> {
  const opsPort = String(await findFreePort());
  const service = name === 'worker' ? name : `${name}-service`;
  const main = fileURLToPath(new URL(`../../services/${service}/src/main.ts`, import.meta.url));
  const env = { CARDEA_LOG_LEVEL: 'info', CARDEA_OPS_PORT: opsPort, ...settings };
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', main], {
    env: { ...process.env, ...system.environment(name), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const ask = (path: string) => fetch(`http://127.0.0.1:${opsPort}${path}`);
  const running: Started = {
    async readiness() {
      const answer = await ask('/readyz');
      return { status: answer.status, failed: ((await answer.json()) as { failed: string[] }).failed };
    },
    isAlive: async () => (await ask('/healthz')).ok,
    output: () => output,
    process: child,
    async end(signal = 'SIGKILL') {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const ended = once(child, 'exit');
      child.kill(signal);
      return ((await ended) as [number | null])[0];
    },
  };
  started.push(running);
  return running;
}

async function expectWaiting(service: Started, line: string): Promise<void> {
  await expectEventually(async () => {
    expect(service.output()).toContain(line);
    expect(await service.readiness()).toEqual({ status: 503, failed: ['start'] });
  });
  expect(await service.isAlive()).toBe(true);
}

describe('a service that starts before PostgreSQL', () => {
  test('is alive and not ready, says what it waits for, and is ready when PostgreSQL is there', async () => {
    for (const name of ['api', 'audit'] as const) await system.stopService(name);
    await postgres.down();
    const audit = await start('audit', { CARDEA_AUDIT_PORT: portOf('audit') });
    const api = await start('api', { CARDEA_PORT: '0' });
    const worker = await start('worker');
    const gone = /the database does not answer yet, because nothing listens at /;
    for (const service of [audit, api, worker]) {
      await expectWaiting(service, 'the database does not answer yet');
      expect(service.output()).toMatch(gone);
    }
    // By now each has tried several times.
    await expectEventually(async () => {
      for (const service of [audit, api, worker]) expect(linesOf(service, 'does not answer yet')).toHaveLength(1);
    });

    await postgres.up();
    for (const service of [audit, api, worker]) {
      await expectEventually(async () => {
        expect(await service.readiness()).toEqual({ status: 200, failed: [] });
      });
    }
    await Promise.all([audit, api, worker].map(({ end }) => end('SIGTERM')));
    for (const name of ['audit', 'api'] as const) await system.startService(name);
  });

  test('ends at once when it is told to stop while it waits', async () => {
    await system.stopService('api');
    await postgres.down();
    const api = await start('api', { CARDEA_PORT: '0' });
    await expectWaiting(api, 'the database does not answer yet');
    expect(await api.end('SIGTERM')).toBe(0);
    await postgres.up();
    await system.startService('api');
  });
});

test('a PostgreSQL that restarts costs at most a 503, and everything reaches it again by itself', async () => {
  const admin = await system.as('admin');
  await admin.createVault('payments');
  await admin.putSecret('payments', 's', 'v');
  await postgres.down();
  await admin.get('/vaults/payments/secrets/s').expect(503);
  expect(await readiness(system)).toMatchObject({ status: 503, failed: expect.arrayContaining(['database']) });
  await postgres.up();
  await expectEventually(async () => {
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
  });
  expect(await admin.readSecret('payments', 's')).toBe('v');
  await admin.putSecret('payments', 's', 'after all');
  await admin.get('/audit/entries?action=secret.write').expect(200);
});

test('a worker that starts before Redis waits for it', async () => {
  const late = file('redis.sock');
  const worker = await start('worker', {
    CARDEA_REDIS_URL: `unix://${late}`,
    CARDEA_REDIS_PASSWORD_FILE: '',
    CARDEA_REDIS_CA_FILE: '',
  });
  await expectWaiting(worker, 'Redis does not answer yet');
  await symlink(new URL(redis.url).pathname, late);
  await expectEventually(async () => {
    expect(await worker.readiness()).toEqual({ status: 200, failed: [] });
  });
});

test('a worker and an api-service that start while Redis runs a script without end wait for it, or do without', async () => {
  const thief = new Redis(new URL(redis.url).pathname);
  await thief.config('SET', 'busy-reply-threshold', '50');
  const ended = thief.eval('while true do end', 0).catch((error: Error) => error.message);
  try {
    const worker = await start('worker');
    const api = await start('api', { CARDEA_PORT: '0' });
    await expectEventually(async () => expect(linesOf(worker, 'does not answer yet')).toHaveLength(1));
    await expectWaiting(worker, 'Redis does not answer yet, because Redis runs a script that does not end (BUSY)');
    // I7: requests are answered without Redis.
    await expectEventually(async () => expect((await api.readiness()).status).toBe(200));
    await expectEventually(async () => {
      expect(api.output()).toContain('the jobs are not scheduled yet, because Redis runs a script that does not end');
    });
    expect(linesOf(worker, 'Redis does not answer yet')).toHaveLength(1);
    const killer = new Redis(new URL(redis.url).pathname, { enableReadyCheck: false });
    await killer.script('KILL');
    killer.disconnect();
    expect(await ended).toMatch(/script killed/i);
    await expectEventually(async () => expect(await worker.readiness()).toEqual({ status: 200, failed: [] }));
    for (const { output } of [worker, api]) expect(output()).not.toMatch(/^ +at /m);
  } finally {
    thief.disconnect();
  }
});

test('a worker with a wrong password of Redis says so once, and is ready when the password is right', async () => {
  await writeFile(file('wrong-redis'), 'wrong', { mode: 0o400 });
  const worker = await start('worker', { CARDEA_REDIS_PASSWORD_FILE: file('wrong-redis') });
  await expectWaiting(worker, 'Redis refuses the password (WRONGPASS): correct the password');
  expect(linesOf(worker, 'the queue does not work')).toHaveLength(1);
});

test('a service whose certificates are of a wrong clock says so, once', async () => {
  await ensureCertificates(file('future'), new Date(Date.now() + 400 * DAY_MS));
  const port = String(await findFreePort());
  const settings = { CARDEA_PROFILE: 'mini', CARDEA_DATA_DIR: file('in-the-future'), CARDEA_TLS_DIR: file('future') };
  await mkdir(file('in-the-future'));
  await start('audit', { ...settings, CARDEA_AUDIT_PORT: port });
  const api = await start('api', { ...settings, CARDEA_AUDIT_URL: `https://127.0.0.1:${port}`, CARDEA_PORT: '0' });
  await expectWaiting(api, 'a certificate is not valid yet (CERT_NOT_YET_VALID): set the clock right');
  await expectEventually(async () => {
    expect(linesOf(api, 'the audit log does not answer yet')).toHaveLength(1);
  });
});

test('an api-service with a new database waits for the audit log, which says whether an old one is lost', async () => {
  await system.stopService('audit');
  const mini = { CARDEA_PROFILE: 'mini', CARDEA_DATA_DIR: file('new'), CARDEA_PORT: '0' };
  const api = await start('api', mini);
  await expectWaiting(api, 'the audit log does not answer yet');
  await system.startService('audit');
  const [code] = (await once(api.process, 'close')) as [number];
  expect([code, api.output()]).toEqual([
    78,
    expect.stringContaining('is empty, but the audit log has records of users'),
  ]);
});

describe('a service that PostgreSQL does not let in', () => {
  test.each<[string, (env: NodeJS.ProcessEnv) => Promise<NodeJS.ProcessEnv>, RegExp]>([
    [
      'with a wrong password',
      async () => {
        await writeFile(file('wrong'), 'wrong', { mode: 0o400 });
        return { CARDEA_DATABASE_PASSWORD_FILE: file('wrong') };
      },
      /password authentication failed for user "cardea_worker" \(28P01\): correct the user or the password\.$/m,
    ],
    [
      'to a database that does not exist',
      async ({ CARDEA_DATABASE_URL: url }) => ({ CARDEA_DATABASE_URL: `${dirname(url!)}/nowhere` }),
      /database "nowhere" does not exist \(3D000\): make it, or correct the name\.$/m,
    ],
    [
      'to the database of others',
      async () => ({
        CARDEA_DATABASE_URL: system.environment('audit')['CARDEA_DATABASE_URL']!.replace('audit_append', 'worker'),
      }),
      /permission denied for database/,
    ],
    [
      'with another CA',
      async () => {
        await ensureCertificates(file('other'), new Date());
        return { CARDEA_DATABASE_CA_FILE: join(file('other'), 'ca.pem') };
      },
      /certificate/,
    ],
  ])('%s says so and ends with 78', async (_reason, change, message) => {
    const worker = await start('worker', await change(system.environment('worker')));
    const [code] = (await once(worker.process, 'close')) as [number];
    expect(worker.output()).toMatch(/^PostgreSQL does not let this service in, because /m);
    expect([worker.output(), code]).toEqual([expect.stringMatching(message), 78]);
  });
});

function linesOf(service: Started, text: string): string[] {
  return service
    .output()
    .split('\n')
    .filter((line) => line.includes(text));
}

function portOf(name: 'audit'): string {
  return system.environment(name)['CARDEA_AUDIT_PORT']!;
}
