import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seal, unseal } from '@cardea/contracts/seal-api';
import { Person, Stranger } from '@cardea/testkit/person';
import { parseAnswer, sendRequest, toBytes } from '@cardea/testkit/raw-http';
import { startRedis } from '@cardea/testkit/servers';
import type { RedisServer } from '@cardea/testkit/servers';
import { prepareTestSystem, profiles } from '@cardea/testkit/system';
import type { PreparedSystem, TestSystem } from '@cardea/testkit/system';
import { inEachProfile, useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import {
  callAs,
  degraded,
  expectAlive,
  expectEventually,
  expectNoListener,
  forgetDeks,
  readiness,
} from '../access/probes.ts';
import { CANARY, expectRefusal } from '../access/refusals.ts';

const PASSWORD = 'correct horse battery staple';

function ask(system: TestSystem, person: Person, method: 'GET' | 'PUT' | 'POST', target: string) {
  const body = { GET: '', PUT: `{"value":"${CANARY}"}`, POST: '{"name":"another"}' }[method];
  const headers = { Authorization: `Bearer ${person.token}`, 'Content-Type': 'application/json' };
  return sendRequest(system.url, { method, target: `/api/v1${target}`, headers, body });
}

inEachProfile((system, { admin }) => {
  beforeAll(async () => {
    for (const vault of ['used', 'unused']) {
      await admin.createVault(vault);
      await admin.putSecret(vault, 's', `value of ${vault}`);
    }
  });

  test('without kek-service a vault in use still works, another one answers 503, and readiness says what is missing', async () => {
    await forgetDeks(system);
    await admin.readSecret('used', 's');
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
    await system.stopService('kek');

    expect(await admin.readSecret('used', 's')).toBe('value of used');
    await admin.put('/vaults/used/secrets/s', { value: 'newer' }).expect(200);
    for (const [method, target, action] of [
      ['GET', '/vaults/unused/secrets/s', 'secret.read'],
      ['PUT', '/vaults/unused/secrets/s', 'secret.write'],
      ['POST', '/vaults', 'vault.create'],
    ] as const) {
      const answer = await expectRefusal(system, () => ask(system, admin, method, target), {
        status: 503,
        code: 'unavailable',
        event: { action, actor: expect.objectContaining({ name: 'admin' }) as never },
      });
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    }
    expect(await readiness(system)).toEqual({ status: 503, failed: ['kek'] });
    await expectAlive(system);

    await system.startService('kek');
    expect(await admin.readSecret('unused', 's')).toBe('value of unused');
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
  });

  test('a running request is answered before the service stops, and its write is kept', async () => {
    const bytes = toBytes({
      method: 'PUT',
      target: '/api/v1/vaults/used/secrets/slow',
      headers: {
        Authorization: `Bearer ${admin.token}`,
        'Content-Type': 'application/json',
        Connection: 'keep-alive',
        Expect: '100-continue',
      },
      body: '{"value":"slow"}',
    });
    const { port, hostname } = new URL(system.url);
    const socket = connect(Number(port), hostname).setEncoding('utf8');
    let received = '';
    socket.write(bytes.subarray(0, -5));
    // The server has the request by now.
    await new Promise((resolve) => socket.once('data', resolve));
    socket.on('data', (text) => (received += text));
    const closed = new Promise((resolve) => socket.on('close', resolve));

    const { url } = system;
    const stopped = system.stopService('api');
    await expectNoListener(url);
    socket.write(bytes.subarray(-5));
    await Promise.all([closed, stopped]);
    const answer = parseAnswer(received);
    expect([answer.status, answer.headers['connection']]).toEqual([201, 'close']);

    await system.startService('api');
    expect(await admin.readSecret('used', 'slow')).toBe('slow');
  });
});

describe.each(profiles)('in profile %s, a sealed kek-service', (profile) => {
  const settings: NodeJS.ProcessEnv = { CARDEA_SEAL: 'passphrase' };
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cardea-passphrase-'));
    const file = join(folder, 'passphrase');
    await writeFile(file, 'a long enough passphrase\n', { mode: 0o600 });
    settings['CARDEA_SEAL_PASSPHRASE_FILE'] = file;
  });
  const [system, { admin }] = useSystem(profile, settings);
  beforeAll(async () => {
    await admin.createVault('payments');
    await admin.putSecret('payments', 's', 'v');
  });
  afterAll(async () => rm(folder, { recursive: true }));

  test('makes calls that need a key answer `sealed`, lets api-service start, and everything works once it is unsealed', async () => {
    await forgetDeks(system);
    await callAs(system, operator, (client) => client.call(seal, { body: {} }));
    await expectSealed('GET', '/vaults/payments/secrets/s', 'secret.read');
    await expectSealed('PUT', '/vaults/payments/secrets/s', 'secret.write');
    await expectSealed('POST', '/vaults', 'vault.create');
    expect(await readiness(system)).toEqual({ status: 503, failed: ['kek'] });

    await system.stopService('api');
    await system.startService('api');
    await expectAlive(system);
    expect((await ask(system, admin, 'GET', '/auth/me')).status).toBe(503);
    await new Stranger(system.url).post('/auth/login', { username: 'alice', password: PASSWORD }).expect(503);

    await expect(open('not the passphrase')).rejects.toMatchObject({ code: 'access_denied' });
    // A wrong passphrase makes the next attempt wait.
    system.passTime(2_000);
    await open('a long enough passphrase');
    await expectEventually(async () => {
      await Person.signIn(system.url, 'alice', PASSWORD);
    });
    expect(await admin.readSecret('payments', 's')).toBe('v');
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
  });

  const operator = { name: 'operator', peer: 'kek-service' } as const;
  const open = (passphrase: string) =>
    callAs(system, operator, (client) => client.call(unseal, { body: { passphrase } }));

  async function expectSealed(method: 'GET' | 'PUT' | 'POST', target: string, action: string): Promise<void> {
    const answer = await expectRefusal(system, () => ask(system, admin, method, target), {
      status: 503,
      code: 'sealed',
      event: { action },
    });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  }
});

describe('PostgreSQL', () => {
  const [system, { admin }] = useSystem('full');

  test('that drops its connections costs at most a 503, and the next requests reach it again', async () => {
    await admin.createVault('payments');
    await admin.putSecret('payments', 's', 'v');
    for (let round = 0; round < 5; round += 1) {
      await Promise.all([dropConnections(system, 'api'), dropConnections(system, 'audit')]);
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          i % 2 === 0
            ? admin.get('/vaults/payments/secrets/s')
            : admin.put('/vaults/payments/secrets/s', { value: `${round} ${i}` }),
        ),
      );
      for (const { status, headers } of answers) {
        expect([200, 503]).toContain(status);
        if (status === 503) expect(Number(headers['retry-after'])).toBeGreaterThan(0);
      }
      await expectEventually(async () => {
        await admin.get('/auth/me').expect(200);
      });
    }
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
    await admin.putSecret('payments', 's', 'after all');
    expect(await admin.readSecret('payments', 's')).toBe('after all');
  });
});

// Only idle ones: a process that loses a connection in the middle of a commit must end (I5), and this one is jest's.
async function dropConnections(system: TestSystem, service: 'api' | 'audit'): Promise<void> {
  const db = system.openDatabase(service);
  const dropped = await db.query(
    `select pg_terminate_backend(pid)
       from pg_stat_activity
      where datname = current_database()
        and pid <> pg_backend_pid()
        and state = 'idle'`,
  );
  await db.close();
  expect(dropped.length).toBeGreaterThan(0);
}

describe('Redis', () => {
  let redis: RedisServer;
  let control: Redis;
  let system: PreparedSystem;
  let admin: Person;

  beforeAll(async () => {
    redis = await startRedis();
    control = new Redis(new URL(redis.url).pathname);
    control.on('error', () => {});
    // Redis answers nobody while api-service starts, as if both were started at once.
    await control.client('PAUSE', 1_500);
    system = prepareTestSystem('full', { CARDEA_REDIS_URL: redis.url, CARDEA_SIGN_INS_PER_MINUTE: '10' });
    system.keepsSchedule = true;
    await system.start();
    admin = await system.as('admin');
    await admin.createVault('payments');
  });
  afterAll(async () => {
    control.disconnect();
    await system[Symbol.asyncDispose]();
    await redis.stop();
  });

  test('that answers late still counts sign-ins', async () => {
    const stranger = new Stranger(system.url);
    await expectEventually(async () => {
      const answer = await stranger.post('/auth/login', { username: 'alice', password: PASSWORD }).expect(429);
      expect(answer.headers['ratelimit']).toMatch(/"sign-in"; r=0/);
    });
  });

  test('that loses its data is not missed, and an ended session stays ended (I7)', async () => {
    await redis.flush();
    const person = await Person.signIn(system.url, 'alice', PASSWORD);
    await person.post('/auth/logout').expect(204);
    await redis.flush();
    await person.get('/auth/me').expect(401);
    await admin.putSecret('payments', 's', 'flushed');
    expect(await admin.readSecret('payments', 's')).toBe('flushed');
  });

  test('that hangs or does not exist keeps no request waiting until it is back', async () => {
    process.kill(redis.pid(), 'SIGSTOP');
    await withoutRedis('hangs');
    await redis.stop();
    await withoutRedis('is gone');
    // It is named, and no balancer takes the replica away for it.
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
    expect(await degraded(system)).toEqual(['redis']);
    await expectAlive(system);
  });

  async function withoutRedis(what: string): Promise<void> {
    await admin.putSecret('payments', 's', what);
    expect(await admin.readSecret('payments', 's')).toBe(what);
    await Person.signIn(system.url, 'alice', PASSWORD);
  }
});
