import { createTestSystem, profiles } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { insertDek } from '@cardea/vault/deks/dek-store';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';
import { idOf, pass, rotate, show, start, trailOf } from './ground.ts';

inEachProfile((system, { admin, carla }) => {
  test('a KEK rotation wraps every DEK under a new KEK, and no DEK is unwrapped for it', async () => {
    for (const vault of ['first', 'second']) await admin.createVault(vault);
    await admin.putSecret('first', 's', 'v');
    const before = await unwraps();
    const [oldest] = (await keks()).items;
    const rotation = await rotate(system, admin, { kind: 'kek' });
    expect(rotation).toMatchObject({ kind: 'kek', state: 'finished', failed: 0, kekVersion: 2 });
    expect(rotation.done).toBe(rotation.total);
    expect(await trailOf(admin, rotation.id)).toEqual([
      'rotation.start',
      // By kek-service, and by the vault.
      'kek.rotate 2',
      'kek.rotate 2',
      `dek.rewrap 2 ×${rotation.done}`,
      `rotation.finish ×${rotation.done}`,
    ]);
    expect((await keks()).items).toEqual([
      { ...oldest, state: 'decrypt-only', deks: 0 },
      expect.objectContaining({ version: 2, state: 'enabled', deks: rotation.done, rotation: rotation.id }),
    ]);
    expect(await unwraps()).toBe(before);
    system.vault.deks.clear();
    expect(await admin.readSecret('first', 's')).toBe('v');
    const events = (await admin.get('/events').expect(200)).body.items as { kind: string; payload: object }[];
    expect(events).toContainEqual(expect.objectContaining({ kind: 'kek.rotated', payload: { kekVersion: 2 } }));
  });

  test('of many calls at once, one starts a rotation, and for 5 minutes all others get its id', async () => {
    await pass(system, 6 * MINUTE_MS);
    const answers = await Promise.all(Array.from({ length: 20 }, () => admin.post('/rotations', { kind: 'kek' })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
    const ids = new Set(answers.map(({ body }) => body.id as string));
    expect(ids.size).toBe(1);
    const [id] = [...ids];
    expect(answers[0]!.headers['location']).toBe(`/api/v1/rotations/${id}`);
    await system.runJob('rotation.run', { rotationId: id! });
    expect(await start(admin, { kind: 'kek' })).toBe(id);
    await pass(system, 5 * MINUTE_MS - 30_000);
    expect(await start(admin, { kind: 'kek' })).toBe(id);
    await pass(system, 30_000);
    const next = await start(admin, { kind: 'kek' });
    expect(next).not.toBe(id);
    await system.runJob('rotation.run', { rotationId: next });
    expect(await trailOf(admin, id!)).toHaveLength(20 + 2 + 4);
  });

  test('a paused rotation holds up others; what a cancelled one leaves, the next one does', async () => {
    await pass(system, 6 * MINUTE_MS);
    const id = await start(admin, { kind: 'kek' });
    await admin.post(`/rotations/${id}:pause`).expect(200);
    await pass(system, 6 * MINUTE_MS);
    expect(await start(admin, { kind: 'kek' })).toBe(id);
    await system.runJob('rotation.run', { rotationId: id });
    expect(await show(admin, id)).toMatchObject({ state: 'paused', done: 0 });
    await admin.post(`/rotations/${id}:cancel`).expect(200);
    const next = await rotate(system, admin, { kind: 'kek' });
    expect(next).toMatchObject({ state: 'finished', failed: 0 });
    expect((await keks()).items.filter(({ deks }) => deks > 0)).toMatchObject([{ state: 'enabled' }]);
  });

  test('a crash after kek-service has made the KEK makes no second one', async () => {
    await pass(system, 6 * MINUTE_MS);
    const id = await start(admin, { kind: 'kek' });
    const version = await system.vault.keks.rotate(id);
    await system.runJob('rotation.run', { rotationId: id });
    expect(await show(admin, id)).toMatchObject({ state: 'finished', kekVersion: version });
    expect((await keks()).items.at(-1)).toMatchObject({ version, rotation: id });
  });

  test('a KEK that kek-service has and the database does not know is found and used', async () => {
    const asked = crypto.randomUUID();
    const version = await system.vault.keks.rotate(asked);
    await system.runJob('rotation.schedule', {});
    expect(await show(admin, asked)).toMatchObject({ kind: 'kek', state: 'running', kekVersion: version });
    await system.runJob('rotation.run', { rotationId: asked });
    expect(await show(admin, asked)).toMatchObject({ state: 'finished', failed: 0 });
    expect((await keks()).items.filter(({ deks }) => deks > 0)).toMatchObject([{ version }]);
    await system.runJob('rotation.schedule', {});
    expect(await show(admin, asked)).toMatchObject({ state: 'finished' });
  });

  test('a DEK that is stored under an old KEK after the end of a rotation is rewrapped as well', async () => {
    await pass(system, 6 * MINUTE_MS);
    const ref = { vaultId: await idOf(admin, 'second'), dekVersion: 2 };
    const wrapped = await system.vault.keks.wrap(ref, new Uint8Array(32).fill(7));
    const rotation = await rotate(system, admin, { kind: 'kek' });
    await system.vault.db.transaction((tx) => insertDek(tx, ref, wrapped, system.now().getTime()));
    await system.runJob('rotation.schedule', {});
    expect(await show(admin, rotation.id)).toMatchObject({ state: 'running' });
    await system.runJob('rotation.run', { rotationId: rotation.id });
    expect(await show(admin, rotation.id)).toMatchObject({ state: 'finished', done: rotation.done + 1 });
    expect((await keks()).items.filter(({ deks }) => deks > 0)).toMatchObject([{ state: 'enabled' }]);
  });

  test('a DEK that does not open is recorded once, keeps its KEK, and holds up no other', async () => {
    await pass(system, 6 * MINUTE_MS);
    await admin.createVault('broken');
    const vaultId = await idOf(admin, 'broken');
    const [stored] = await query<{ wrapped: Uint8Array }>(system, 'select wrapped from dek where vault_id = $1', [
      vaultId,
    ]);
    const { wrapped } = stored!;
    const setWrapped = (bytes: Uint8Array) =>
      system.vault.db.transaction((tx) =>
        tx.query('update dek set wrapped = $2 where vault_id = $1', [vaultId, bytes]),
      );
    await setWrapped(wrapped.map((byte, index) => (index === 40 ? byte ^ 1 : byte)));
    const old = (await keks()).items.at(-1)!.version;
    const rotation = await rotate(system, admin, { kind: 'kek' });
    expect(rotation).toMatchObject({ state: 'finished', failed: 1, done: rotation.total - 1 });
    expect(rotation.failures).toMatchObject([{ kind: 'dek', vault: 'broken', version: 1 }]);
    const denied = (await trailOf(admin, rotation.id)).filter((line) => line.includes('!'));
    expect(denied).toEqual(['dek.rewrap! 1']);
    // The schedule does not try it again and again.
    await system.runJob('rotation.schedule', {});
    expect(await show(admin, rotation.id)).toMatchObject({ state: 'finished' });

    const refused = await admin.post(`/keks/${old}:destroy`).expect(409);
    expect(refused.body.detail).toContain('1 DEK');
    await pass(system, 6 * MINUTE_MS);
    const again = await rotate(system, admin, { kind: 'kek' });
    expect(again.failed).toBe(1);
    expect((await trailOf(admin, again.id)).filter((line) => line.includes('!'))).toEqual([]);
    // Put back from a backup, it is rewrapped by the next one.
    await setWrapped(wrapped);
    await pass(system, 6 * MINUTE_MS);
    expect(await rotate(system, admin, { kind: 'kek' })).toMatchObject({ failed: 0, failures: [] });
    await admin.post(`/keks/${old}:destroy`).expect(204);
  });

  test('an admin destroys a KEK that wraps nothing; the newest, an unknown one and for others it is refused', async () => {
    const { items } = await keks();
    const newest = items.at(-1)!.version;
    await carla.get('/keks').expect(200);
    await carla.post('/keks/1:destroy').expect(403);
    await admin.post(`/keks/${newest}:destroy`).expect(409);
    await admin.post('/keks/999:destroy').expect(404);
    await admin.post('/keks/0:destroy').expect(400);
    await admin.post('/keks/1:destroy').expect(204);
    await admin.post('/keks/1:destroy').expect(204);
    expect((await keks()).items[0]).toMatchObject({ version: 1, state: 'destroyed', deks: 0 });
    const entries = await admin.auditEntries({ action: 'kek.destroy' });
    const byAdmin = entries
      .map(({ event }) => event)
      .filter(({ actor, decision }) => actor.type === 'user' && decision === 'allow');
    expect(byAdmin.filter(({ kekVersion }) => kekVersion === 1)).toHaveLength(2);
  });

  test('a DEK that was wrapped before its KEK was destroyed is not stored', async () => {
    await pass(system, 6 * MINUTE_MS);
    const ref = { vaultId: await idOf(admin, 'first'), dekVersion: 2 };
    const wrapped = await system.vault.keks.wrap(ref, new Uint8Array(32).fill(9));
    await rotate(system, admin, { kind: 'kek' });
    await admin.post(`/keks/${wrapped.kekVersion}:destroy`).expect(204);
    const storing = system.vault.db.transaction((tx) => insertDek(tx, ref, wrapped, 0));
    await expect(storing).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a destruction that kek-service did not hear of is finished by the schedule', async () => {
    await pass(system, 6 * MINUTE_MS);
    const old = (await keks()).items.at(-1)!.version;
    await rotate(system, admin, { kind: 'kek' });
    await system.stopService('kek');
    await admin.post(`/keks/${old}:destroy`).expect(503);
    await system.startService('kek');
    await query(system, `insert into kek_destruction (kek_version, asked_at, asked_by) values ($1, 1, 'user:x')`, [
      old,
    ]);
    await system.runJob('rotation.schedule', {});
    expect((await keks()).items.find(({ version }) => version === old)).toMatchObject({ state: 'destroyed' });
  });

  interface ListedKeks {
    items: { version: number; state: string; deks: number; rotation?: string }[];
  }

  async function keks(): Promise<ListedKeks> {
    return (await admin.get('/keks').expect(200)).body as ListedKeks;
  }

  async function unwraps(): Promise<string | undefined> {
    const metrics = await (await fetch(`${system.kekOpsUrl}/metrics`)).text();
    return metrics
      .split('\n')
      .find((line) => line.startsWith('cardea_dek_operations_total') && line.includes('"unwrap"'));
  }
});

test.each(profiles)(
  'in profile %s, by schedule, the KEK rotates once after its days, however many turns were missed',
  async (profile) => {
    await using system = await createTestSystem(profile);
    const admin = await system.as('admin');
    const rotations = async () =>
      (await admin.get('/rotations').expect(200)).body.items as { kind: string; id: string }[];
    await pass(system, 89 * DAY_MS);
    await system.runJob('rotation.schedule', {});
    expect((await rotations()).filter(({ kind }) => kind === 'kek')).toEqual([]);
    await pass(system, 400 * DAY_MS);
    for (let turn = 0; turn < 3; turn += 1) {
      await system.runJob('rotation.schedule', {});
      await pass(system, 6 * MINUTE_MS);
    }
    const [rotation, ...more] = (await rotations()).filter(({ kind }) => kind === 'kek');
    expect(more).toEqual([]);
    expect(await show(admin, rotation!.id)).toMatchObject({ startedBy: 'service:cardea', state: 'running' });
    await system.runJob('rotation.run', { rotationId: rotation!.id });
    expect(await show(admin, rotation!.id)).toMatchObject({ state: 'finished' });
  },
);
