import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { expectEventually } from '../access/probes.ts';
import { query } from '../secrets/ground.ts';
import { deksOf, idOf, pass, show, start } from './ground.ts';

describe.each(['mini', 'full'] as const)('in profile %s', (profile) => {
  test('every 12 hours, the vaults that were written get a new DEK, and no others', async () => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    for (const vault of ['written', 'read']) await admin.createVault(vault);
    await admin.putSecret('written', 's', 'v');
    await pass(system, 12 * HOUR_MS - MINUTE_MS);
    await admin.putSecret('read', 's', 'later');
    expect(await turn(system)).toEqual([]);
    await pass(system, MINUTE_MS);
    const [id] = await turn(system);
    expect(await show(admin, id!)).toMatchObject({ kind: 'dek', state: 'finished', startedBy: 'service:cardea' });
    // What was written a minute ago is rotated in the same turn: so there is at most one turn in 12 hours.
    expect(await deksOf(system, await idOf(admin, 'written'))).toEqual(['1 destroyed', '2 active']);
    expect(await deksOf(system, await idOf(admin, 'read'))).toEqual(['1 destroyed', '2 active']);
    const started = await admin.auditEntries({ action: 'rotation.start' });
    expect(started[0]!.event).toMatchObject({ actor: { type: 'service', id: 'cardea' }, rule: 'rotation-schedule' });

    // Nothing is written, so nothing is due any more.
    await pass(system, 30 * DAY_MS);
    expect(await turn(system)).toEqual([]);
    await admin.putSecret('written', 's', 'again');
    await pass(system, 12 * HOUR_MS);
    expect(await turn(system)).toHaveLength(1);
    expect(await deksOf(system, await idOf(admin, 'written'))).toEqual(['1 destroyed', '2 destroyed', '3 active']);
    expect(await deksOf(system, await idOf(admin, 'read'))).toEqual(['1 destroyed', '2 active']);
    expect(await admin.readSecret('written', 's')).toBe('again');
  });

  test('turns that were missed while everything was down start once', async () => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    await admin.createVault('down');
    await admin.putSecret('down', 's', 'v');
    await pass(system, 10 * DAY_MS);
    await system.restart();
    await pass(system, 0);
    expect(await turn(system)).toHaveLength(1);
    await system.restart();
    await pass(system, 0);
    expect(await turn(system)).toEqual([]);
    expect(await deksOf(system, await idOf(admin, 'down'))).toEqual(['1 destroyed', '2 active']);
  });

  test('two processes that look at the same time start one rotation', async () => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    await admin.createVault('twice');
    await admin.putSecret('twice', 's', 'v');
    await pass(system, DAY_MS);
    await Promise.all(Array.from({ length: 8 }, () => system.runJob('rotation.schedule', {})));
    expect((await admin.get('/rotations').expect(200)).body.items).toHaveLength(1);
  });

  test('a rotation of the schedule that is cancelled does not begin again before the next turn', async () => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    await admin.createVault('cancelled');
    await admin.putSecret('cancelled', 's', 'v');
    await pass(system, DAY_MS);
    await system.runJob('rotation.schedule', {});
    const [{ id }] = (await admin.get('/rotations').expect(200)).body.items;
    await system.runJob('rotation.schedule', {});
    await admin.post(`/rotations/${id}:cancel`).expect(200);
    expect(await turn(system)).toEqual([]);
    await pass(system, 12 * HOUR_MS);
    expect(await turn(system)).toHaveLength(1);
  });

  test('a clock that jumps ahead and back rotates once each way and holds nothing up', async () => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    await admin.createVault('jump');
    await admin.putSecret('jump', 's', 'one');
    await pass(system, 365 * DAY_MS);
    expect(await turn(system)).toHaveLength(1);
    await admin.putSecret('jump', 's', 'written in the future');
    const kek = await start(admin, { kind: 'kek' });
    await system.runJob('rotation.run', { rotationId: kek });
    // Back again. The DEK's first use, the turn and the KEK rotation are all in the future now.
    await pass(system, -365 * DAY_MS);
    expect(await turn(system)).toHaveLength(1);
    expect(await turn(system)).toEqual([]);
    expect(await start(admin, { kind: 'kek' })).not.toBe(kek);
    expect(await admin.readSecret('jump', 's')).toBe('written in the future');
    await admin.putSecret('jump', 's', 'two');
    await pass(system, 12 * HOUR_MS);
    expect(await turn(system)).toHaveLength(1);
    expect(await admin.readSecret('jump', 's')).toBe('two');
  });

  test('with 0 hours and 0 days, nothing rotates by itself', async () => {
    const settings = { CARDEA_DEK_ROTATION_HOURS: '0', CARDEA_KEK_ROTATION_DAYS: '0' };
    await using system = await createTestSystem(profile, settings);
    const admin = await system.as('admin');
    await admin.createVault('off');
    await admin.putSecret('off', 's', 'v');
    await pass(system, 400 * DAY_MS);
    expect(await turn(system)).toEqual([]);
  });

  test('a rotation that is started runs by itself, also after the queue has lost everything', async () => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    await admin.createVault('lost');
    await admin.putSecret('lost', 's', 'v');
    const id = await start(admin, { kind: 'dek', vault: 'lost' });
    await flushQueue(system);
    system.keepsSchedule = true;
    await system.restart();
    await pass(system, 0);
    await expectEventually(async () => {
      expect(await show(admin, id)).toMatchObject({ state: 'finished', done: 1 });
    });
    // With the jobs running, nobody waits for the schedule.
    const next = await start(admin, { kind: 'dek', vault: 'lost' });
    await expectEventually(async () => {
      expect(await show(admin, next)).toMatchObject({ state: 'finished', done: 1 });
    });
    expect(await deksOf(system, await idOf(admin, 'lost'))).toEqual(['1 destroyed', '2 destroyed', '3 active']);
    // Nor does a rotation that waits for an older one.
    const together = [];
    for (let turns = 0; turns < 3; turns += 1) together.push(await start(admin, { kind: 'dek', vault: 'lost' }));
    for (const waiting of together) {
      await expectEventually(async () => {
        expect(await show(admin, waiting)).toMatchObject({ state: 'finished', done: 1 });
      });
    }
  });

  test.each(['pause', 'cancel'])('a rotation begins at once after a %s of the one that it waits for', async (verb) => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    await admin.createVault('held');
    await admin.putSecret('held', 's', 'v');
    const first = await start(admin, { kind: 'dek', vault: 'held' });
    const next = await start(admin, { kind: 'dek', vault: 'held' });
    // As a process that was killed a moment ago leaves it, however long this test takes.
    const claim = () =>
      query(system, 'update rotation_vault set claimed_by = $1, claimed_until = $2 where rotation_id = $1', [
        first,
        Date.now() + MINUTE_MS - SECOND_MS,
      ]);
    await claim();
    system.keepsSchedule = true;
    await system.restart();
    await pass(system, 0);
    await expectEventually(async () => {
      await claim();
      const { body } = await admin.get('/status').expect(200);
      expect(body.jobs.every(({ waiting }: { waiting: number }) => waiting === 0)).toBe(true);
    });
    expect(await show(admin, next)).toMatchObject({ state: 'running', done: 0 });
    await claim();
    await admin.post(`/rotations/${first}:${verb}`, {}).expect(200);
    // Before the claim ends by itself.
    await expectEventually(async () => {
      expect(await show(admin, next)).toMatchObject({ state: 'finished', done: 1 });
    }, 50 * SECOND_MS);
  });
});

/** One look of the schedule, and all work of the DEK rotation that it has started. The ids of what it has started. */
async function turn(system: TestSystem): Promise<string[]> {
  const admin = await system.as('admin');
  const listed = async () => {
    const items = (await admin.get('/rotations').expect(200)).body.items as { id: string; kind: string }[];
    return items.filter(({ kind }) => kind === 'dek').map(({ id }) => id);
  };
  const before = new Set(await listed());
  await system.runJob('rotation.schedule', {});
  const started = (await listed()).filter((id) => !before.has(id));
  for (const rotationId of started) await system.runJob('rotation.run', { rotationId });
  return started;
}

async function flushQueue(system: TestSystem): Promise<void> {
  if (system.profile === 'mini') return system.restart();
  const redis = new Redis(system.environment('worker')['CARDEA_REDIS_URL']!);
  await redis.flushall();
  redis.disconnect();
}
