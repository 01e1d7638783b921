import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readApiConfig } from '@cardea/api-service/config';
import { ensureCertificates } from '@cardea/deploy/certificates';
import { connectionTo } from '@cardea/jobs/redis-options';
import { openPostgres } from '@cardea/storage/postgres';
import type { PostgresServer as PostgresAddress } from '@cardea/storage/postgres-server';
import { startPostgres, startRedis } from '@cardea/testkit/servers';
import type { PostgresServer, RedisServer } from '@cardea/testkit/servers';
import { prepareTestSystem } from '@cardea/testkit/system';
import type { PreparedSystem } from '@cardea/testkit/system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { expectEventually, readiness } from '../access/probes.ts';

/** The same host under a name that no certificate has. */
const OTHER_NAME = '127.1';
const PASSWORD = 'a-password-of-Redis';

let folder: string;
let postgres: PostgresServer;
let redis: RedisServer;
let system: PreparedSystem;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cardea-server-tls-'));
  await ensureCertificates(folder, new Date());
  // The certificate of any service does: it is of this CA and names localhost.
  const tls = { ca: file('ca.pem'), cert: file('operator.pem'), key: file('operator.key') };
  [postgres, redis] = await Promise.all([startPostgres({ tls }), startRedis({ tls, password: PASSWORD })]);
  system = prepareTestSystem('full', {}, { postgres, redis, caFile: tls.ca, redisPassword: PASSWORD });
  system.keepsSchedule = true;
  await system.start();
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
  await Promise.all([postgres.stop(), redis.stop()]);
  await rm(folder, { recursive: true });
});

const file = (name: string) => join(folder, name);

describe('a system whose PostgreSQL and Redis speak TLS and ask for passwords', () => {
  test('keeps secrets, records, and runs jobs in a worker', async () => {
    const admin = await system.as('admin');
    await admin.createVault('payments');
    await admin.putSecret('payments', 's', 'v');
    expect(await admin.readSecret('payments', 's')).toBe('v');
    const { body } = await admin.get('/audit/entries?action=secret.read').expect(200);
    expect(body.items).toHaveLength(1);
    expect(await readiness(system)).toEqual({ status: 200, failed: [] });
    await expectEventually(async () => {
      expect((await fetch(`${system.workerOpsUrl}/readyz`)).status).toBe(200);
      const metrics = await (await fetch(`${system.workerOpsUrl}/metrics`)).text();
      expect(metrics).toMatch(/cardea_job_runs_total\{[^}]*outcome="done"[^}]*\} [1-9]/);
    });
  });

  test('uses every role, and only over TLS', async () => {
    const db = openPostgres(postgres.url, { max: 1 });
    const rows = await db.query<{ usename: string; ssl: number }>(
      `select distinct a.usename, s.ssl
         from pg_stat_activity a
         join pg_stat_ssl s using (pid)
        where a.usename like 'cardea%'
        order by a.usename`,
    );
    await db.close();
    const roles = ['cardea_api', 'cardea_audit_append', 'cardea_audit_read', 'cardea_worker'];
    expect(rows).toEqual(roles.map((usename) => ({ usename, ssl: 1 })));

    const control = new Redis(new URL(redis.url).pathname);
    const clients = (await control.client('LIST')) as string;
    // Redis has refused nothing: the user has every right that limits and jobs need.
    expect(await control.acl('LOG')).toEqual([]);
    control.disconnect();
    const strangers = clients
      .trim()
      .split('\n')
      .filter((line) => !/ user=cardea /.test(line));
    expect(strangers).toEqual([expect.stringMatching(/ cmd=client\|list /)]);
  });
});

describe('a connection to PostgreSQL', () => {
  test('with the right password and CA is made', async () => {
    expect(await problemOf({})).toBeUndefined();
  });

  test('to a server of another CA is refused', async () => {
    const other = file('other');
    await ensureCertificates(other, new Date());
    const ca = await readFile(join(other, 'ca.pem'), 'utf8');
    expect(await problemOf({ ca })).toMatchObject({ code: expect.stringMatching(/CERT|SIGNATURE/) });
  });

  test('to a server whose certificate does not name the host is refused', async () => {
    const url = (await address()).url.replace('localhost', OTHER_NAME);
    expect(await problemOf({ url })).toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  test('with a wrong password, or with none, is refused', async () => {
    expect(await problemOf({ password: 'wrong' })).toMatchObject({ code: '28P01' });
    expect(await problemOf({ password: undefined })).toBeDefined();
  });

  test('without TLS is refused by the server', async () => {
    expect(await problemOf({ ca: undefined })).toMatchObject({ code: '28000' });
  });
});

describe('a connection to Redis', () => {
  test('with the right password and CA is made', async () => {
    expect(await ping({})).toBe('PONG');
  });

  test('with a wrong password, another CA, or a host that the certificate does not name is refused', async () => {
    await expect(ping({ password: 'wrong' })).rejects.toThrow('WRONGPASS');
    await writeFile(file('none.pem'), '');
    await expect(ping({ ca: await readFile(file('none.pem'), 'utf8') })).rejects.toThrow(/certificate|issuer/);
    await expect(ping({ url: `rediss://cardea@${redis.tlsHost!.replace('localhost', OTHER_NAME)}` })).rejects.toThrow(
      /is not in the cert's altnames/,
    );
  });
});

async function address(): Promise<PostgresAddress> {
  return readApiConfig(system.environment('api')).database as PostgresAddress;
}

async function ping(change: object): Promise<string> {
  const { redis: server } = readApiConfig(system.environment('api'));
  const client = new Redis({ ...connectionTo({ ...server!, ...change }), retryStrategy: () => null });
  const failed = new Promise<never>((_resolve, reject) => client.on('error', reject));
  try {
    return await Promise.race([client.ping(), failed]);
  } finally {
    failed.catch(() => {});
    client.disconnect();
  }
}

async function problemOf(change: Partial<PostgresAddress>): Promise<unknown> {
  const db = openPostgres({ ...(await address()), ...change }, { max: 1 });
  try {
    await db.ping();
    return undefined;
  } catch (error) {
    return (error as Error).cause;
  } finally {
    await db.close();
  }
}
