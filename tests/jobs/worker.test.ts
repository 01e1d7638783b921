import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { parseRedisUrl } from '@cardea/jobs/redis-options';
import { expectEventually } from '../access/probes.ts';
import { at, query } from '../secrets/ground.ts';

const ITEMS = 3_000;

const [system, { alice }] = useSystem('full');

// All at once, because each restart takes seconds.
beforeAll(async () => {
  system.keepsSchedule = true;
  await system.restart();
  await system.as('alice');
});

test('a worker shows its runs, and what they did, on its ops port', async () => {
  await alice.createVault('shown');
  await alice.put(at('shown', 's'), { value: 'v', ttlSeconds: 1 }).expect(201);
  await query(system, `update secret_version set expires_at = 1000 where expires_at is not null`);
  await system.replaceWorker();
  await flushRedis();
  await system.replaceWorker();
  await expectEventually(async () => {
    expect(await metric('cardea_job_items_total', 'secret.sweep')).toBeGreaterThan(0);
  });
  expect(await metric('cardea_job_runs_total', 'secret.sweep', 'outcome="done"')).toBeGreaterThan(0);
  expect(await metric('cardea_job_runs_total', 'secret.sweep', 'outcome="failed"')).toBe(0);
  expect(await metric('cardea_job_duration_seconds_count', 'secret.sweep')).toBeGreaterThan(0);
  expect(await metric('cardea_jobs_waiting', 'secret.sweep')).toBe(0);
});

test('every expired value is destroyed and recorded once, though workers are killed and Redis loses its data', async () => {
  await alice.createVault('killed');
  await alice.putSecret('killed', 's', 'v');
  await addExpired();
  for (let kill = 0; kill < 3; kill += 1) {
    const left = await countLeft();
    await flushRedis();
    await system.replaceWorker();
    if (left > 0) await expectEventually(async () => expect(await countLeft()).toBeLessThan(left), 60_000);
  }
  await flushRedis();
  await system.replaceWorker();
  await expectEventually(async () => expect(await countLeft()).toBe(0), 60_000);
  // What a killed worker left in the outbox is sent after ten seconds.
  await expectEventually(async () => {
    expect((await query<{ n: number }>(system, 'select count(*) as n from outbox'))[0]!.n).toBe(0);
  }, 60_000);
  const recorded: number[] = [];
  const admin = await system.as('admin');
  for await (const { event } of admin.newestEntries({ action: 'secret.expire', vault: 'killed' })) {
    recorded.push(event.resource!.version!);
  }
  expect(recorded).toHaveLength(ITEMS);
  expect(new Set(recorded).size).toBe(ITEMS);
}, 300_000);

test('a worker makes the versions of keys that are due, and destroys deleted keys, with the rights of its own role', async () => {
  await alice.createVault('kept');
  for (const name of ['due', 'gone']) {
    await alice.post('/vaults/kept/keys', { name, algorithm: 'ed25519', rotationPeriodSeconds: 3_600 }).expect(201);
  }
  await alice.delete('/vaults/kept/keys/gone').expect(202);
  await query(system, `update vault_key set rotate_at = 1000 where delete_at is null`);
  await query(system, `update vault_key set delete_at = 1000 where delete_at is not null`);
  await flushRedis();
  await system.replaceWorker();
  await expectEventually(async () => {
    const { body } = await alice.get('/vaults/kept/keys/due').expect(200);
    expect(body.currentVersion).toBe(2);
    await alice.get('/vaults/kept/keys/gone').expect(404);
  }, 60_000);
  const admin = await system.as('admin');
  const entries = await admin.auditEntries({ vault: 'kept', actor: 'cardea' });
  expect(entries.map(({ event, peer }) => `${event.action} ${event.resource?.name} ${peer}`).toSorted()).toEqual([
    'key.destroy gone worker',
    'key.rotate due worker',
  ]);
});

/** Gives a secret many versions that have expired. */
async function addExpired(): Promise<void> {
  await query(
    system,
    `with recursive place (i) as (select 2 union all select i + 1 from place where i <= $1)
     insert into secret_version (secret_id, vault_id, version, ciphertext, dek_version, encoding, expires_at,
                                 created_at, created_by)
     select e.secret_id, e.vault_id, i, e.ciphertext, e.dek_version, e.encoding, 1000, e.created_at, e.created_by
       from place
       join secret s on s.vault_id = (select id from vault where name = 'killed')
       join secret_version e on e.secret_id = s.id and e.version = 1`,
    [ITEMS],
  );
}

async function countLeft(): Promise<number> {
  const left = `select count(*) as n from secret_version where ciphertext is not null and expires_at is not null`;
  return (await query<{ n: number }>(system, left))[0]!.n;
}

async function flushRedis(): Promise<void> {
  const redis = new Redis(parseRedisUrl(system.environment('worker')['CARDEA_REDIS_URL']!));
  await redis.flushdb();
  await redis.quit();
}

/** A metric of the worker for one job. */
async function metric(name: string, job: string, label = ''): Promise<number> {
  const text = await (await fetch(`${system.workerOpsUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) && line.includes(`job_name="${job}"`));
  return Number(
    lines
      .find((line) => line.includes(label))
      ?.split(' ')
      .at(-1),
  );
}
