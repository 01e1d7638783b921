import { SYSTEM_VAULT_ID } from '@cardea/vault/deks/dek-store';
import { inEachProfile } from '@cardea/testkit/use-system';
import { PASSWORD } from '@cardea/testkit/system';
import { describe, expect, test } from '@jest/globals';
import { codeOf, createUser, nextTotpStep, signIn, turnOnTotp } from '../identity/identity.ts';
import { at, eventsOf, query } from '../secrets/ground.ts';
import { deksOf, idOf, onlyRenew, rotate, sealedUnder, show, start, trailOf } from './ground.ts';

inEachProfile((system, { admin, alice, carla }) => {
  test('a rotated vault has one new DEK, all its values read as before, and the old DEK is destroyed', async () => {
    for (const vault of ['rotated', 'beside']) await admin.createVault(vault);
    await admin.putSecret('beside', 's', 'of another vault');
    for (const value of ['one', 'two', 'three']) await admin.putSecret('rotated', 'a', value);
    await admin.post(`${at('rotated', 'a')}:destroy`, { versions: [2] }).expect(200);
    await admin.putSecret('rotated', 'b', 'in the trash');
    await admin.delete(at('rotated', 'b')).expect(204);
    const vaultId = await idOf(admin, 'rotated');

    const rotation = await rotate(system, admin, { kind: 'dek', vault: 'rotated' });
    expect(rotation).toMatchObject({ kind: 'dek', state: 'finished', total: 3, done: 3, failed: 0, failures: [] });
    expect(rotation.finishedAt).toBeDefined();
    expect(rotation.startedBy).toMatch(/^user:/);
    expect(await trailOf(admin, rotation.id)).toEqual([
      'rotation.start',
      'dek.rotate 2',
      'dek.reseal 2 ×3',
      'dek.destroy 1',
      'rotation.finish ×3',
    ]);
    expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 active']);
    expect(await sealedUnder(system, vaultId)).toEqual(['a 1: 2', 'a 2: null', 'a 3: 2', 'b 1: 2']);
    expect(await deksOf(system, await idOf(admin, 'beside'))).toEqual(['1 active']);
    system.vault.deks.clear();
    expect((await admin.get(`${at('rotated', 'a')}?version=1`).expect(200)).body.value).toBe('one');
    expect(await admin.readSecret('rotated', 'a')).toBe('three');
    await admin.post(`${at('rotated', 'b')}:restore`).expect(200);
    expect(await admin.readSecret('rotated', 'b')).toBe('in the trash');
    expect(await eventsOf(system, 'rotated')).toContainEqual({ kind: 'dek.rotated', payload: { dekVersion: 2 } });
  });

  test('a value that is written meanwhile is sealed under the new DEK at once', async () => {
    await admin.createVault('meanwhile');
    await admin.putSecret('meanwhile', 'old', 'old');
    const vaultId = await idOf(admin, 'meanwhile');
    const id = await start(admin, { kind: 'dek', vault: 'meanwhile' });
    await admin.putSecret('meanwhile', 'before', 'before');
    await system.runJob('rotation.run', { rotationId: id });
    await admin.putSecret('meanwhile', 'after', 'after');
    expect(await sealedUnder(system, vaultId)).toEqual(['after 1: 2', 'before 1: 2', 'old 1: 2']);
  });

  test('a rotation of everything covers the TOTP secrets and signing keys of the system', async () => {
    await createUser(system, { username: 'twofold', password: PASSWORD });
    const { person, refreshToken } = await signIn(system, { username: 'twofold' });
    const { uri } = await turnOnTotp(system, person);
    const before = (await deksOf(system, SYSTEM_VAULT_ID)).length;

    const rotation = await rotate(system, admin, { kind: 'dek' });
    expect(rotation).toMatchObject({ state: 'finished', failed: 0 });
    expect((await deksOf(system, SYSTEM_VAULT_ID)).at(-1)).toBe(`${before + 1} active`);
    expect((await deksOf(system, SYSTEM_VAULT_ID)).at(-2)).toBe(`${before} destroyed`);
    // Nothing of the keys is left in memory.
    await system.stopService('api');
    await system.startService('api');
    await system.stranger.withToken(person.token).get('/auth/me').expect(200);
    await system.stranger.post('/auth/refresh', { refresh_token: refreshToken }).expect(200);
    nextTotpStep(system);
    await signIn(system, { username: 'twofold', otp: codeOf(system, uri) });
  });

  test('a TOTP secret that is resealed between its set-up and its first code is confirmed', async () => {
    await createUser(system, { username: 'between', password: PASSWORD });
    const { person } = await signIn(system, { username: 'between' });
    const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
      uri: string;
    };
    await rotate(system, admin, { kind: 'dek' });
    await person.post('/auth/totp:confirm', { otp: codeOf(system, uri) }).expect(200);
  });

  test('rollback, move and restore of versions under three DEKs give the values of before', async () => {
    for (const vault of ['three', 'elsewhere']) await admin.createVault(vault);
    const vaultId = await idOf(admin, 'three');
    await admin.putSecret('three', 's', 'one');
    await admin.putSecret('three', 'gone', 'in the trash');
    await admin.delete(at('three', 'gone')).expect(204);
    // A cancelled rotation leaves both DEKs.
    for (const value of ['two', 'three']) {
      const id = await start(admin, { kind: 'dek', vault: 'three' });
      await onlyRenew(system, id);
      await admin.post(`/rotations/${id}:cancel`).expect(200);
      await admin.putSecret('three', 's', value);
    }
    expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 retiring', '3 active']);
    expect(await sealedUnder(system, vaultId)).toEqual(['gone 1: 1', 's 1: 1', 's 2: 2', 's 3: 3']);

    await admin.post(`${at('three', 's')}:rollback`, { version: 1 }).expect(200);
    expect(await admin.readSecret('three', 's')).toBe('one');
    await admin.post(`${at('three', 's')}:move`, { vault: 'elsewhere', name: 's' }).expect(200);
    await admin.post(`${at('three', 'gone')}:restore`).expect(200);
    const next = await rotate(system, admin, { kind: 'dek', vault: 'three' });
    expect(next).toMatchObject({ state: 'finished', done: 1 });
    expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 destroyed', '3 destroyed', '4 active']);
    system.vault.deks.clear();
    expect(await admin.readSecret('three', 'gone')).toBe('in the trash');
    const values: unknown[] = [];
    for (const version of [1, 2, 3, 4]) {
      values.push((await admin.get(`${at('elsewhere', 's')}?version=${version}`).expect(200)).body.value);
    }
    expect(values).toEqual(['one', 'two', 'three', 'one']);
  });

  test('a vault that is deleted while it rotates ends its part, and the rotation finishes', async () => {
    await admin.createVault('doomed');
    await admin.putSecret('doomed', 's', 'v');
    const vaultId = await idOf(admin, 'doomed');
    const pending = await start(admin, { kind: 'dek', vault: 'doomed' });
    const running = await start(admin, { kind: 'dek', vault: 'doomed' });
    await onlyRenew(system, running);
    await admin.delete('/vaults/doomed?recursive=true').expect(204);
    for (const rotationId of [pending, running]) {
      await system.runJob('rotation.run', { rotationId });
      expect(await show(admin, rotationId)).toMatchObject({ state: 'finished', done: 0, failed: 0 });
    }
    expect(await deksOf(system, vaultId)).toEqual([]);
    await system.runJob('vault.sweep', {});
    expect(await sealedUnder(system, vaultId)).toEqual([]);
  });

  describe('a row that does not open', () => {
    test('stays as it is, keeps its DEK, is reported and recorded once, and holds up no other', async () => {
      await admin.createVault('damaged');
      for (const name of ['a', 'b', 'c']) await admin.putSecret('damaged', name, name);
      const vaultId = await idOf(admin, 'damaged');
      const swap = (name: string, from: string) =>
        query(
          system,
          `update secret_version
              set ciphertext = (select e.ciphertext from secret_version e join secret s on s.id = e.secret_id
                                 where s.name = $3 and e.vault_id = $1)
            where vault_id = $1
              and secret_id in (select s.id from secret s where s.name = $2)`,
          [vaultId, name, from],
        );
      await swap('b', 'c');

      const rotation = await rotate(system, admin, { kind: 'dek', vault: 'damaged' });
      expect(rotation).toMatchObject({ state: 'finished', total: 3, done: 2, failed: 1 });
      expect(rotation.failures).toMatchObject([
        { kind: 'secret-version', vault: 'damaged', name: 'b', version: 1, dekVersion: 1 },
      ]);
      expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 active']);
      expect(await sealedUnder(system, vaultId)).toEqual(['a 1: 2', 'b 1: 1', 'c 1: 2']);
      const trail = await trailOf(admin, rotation.id);
      expect(trail.filter((line) => line.includes('!'))).toEqual(['dek.reseal! 1 b']);
      const metrics = await (await fetch(`${system.opsUrl}/metrics`)).text();
      expect(metrics).toMatch(/^cardea_rotation_unopened_rows\{.*\} 1$/m);
      expect(metrics).toMatch(/^cardea_rotation_retiring_deks\{.*\} 1$/m);
      expect(metrics).toMatch(/^cardea_rotations_running\{.*\} 0$/m);

      const again = await rotate(system, admin, { kind: 'dek', vault: 'damaged' });
      expect(again).toMatchObject({ state: 'finished', done: 2, failed: 1 });
      expect(again.failures).toMatchObject([{ name: 'b' }]);
      expect((await trailOf(admin, again.id)).filter((line) => line.includes('!'))).toEqual([]);
      expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 destroyed', '3 active']);

      // The owner writes it anew and purges the damage; the next rotation destroys its DEK.
      await admin.putSecret('damaged', 'b', 'anew');
      await admin.post(`${at('damaged', 'b')}:destroy`, { versions: [1] }).expect(200);
      const healed = await rotate(system, admin, { kind: 'dek', vault: 'damaged' });
      expect(healed).toMatchObject({ state: 'finished', failed: 0, failures: [] });
      expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 destroyed', '3 destroyed', '4 active']);
      expect(await query(system, 'select id from unopened_row where vault_id = $1', [vaultId])).toEqual([]);
    });

    test('because its DEK does not open is reported too, and the other rows are resealed', async () => {
      await admin.createVault('lost-dek');
      await admin.putSecret('lost-dek', 'a', 'a');
      const vaultId = await idOf(admin, 'lost-dek');
      const id = await start(admin, { kind: 'dek', vault: 'lost-dek' });
      await onlyRenew(system, id);
      await admin.post(`/rotations/${id}:cancel`).expect(200);
      await admin.putSecret('lost-dek', 'b', 'b');
      await query(
        system,
        `update dek set wrapped = (select d.wrapped from dek d where d.vault_id = $2 and d.wrapped is not null limit 1)
          where vault_id = $1 and version = 1`,
        [vaultId, SYSTEM_VAULT_ID],
      );
      system.vault.deks.clear();
      const rotation = await rotate(system, admin, { kind: 'dek', vault: 'lost-dek' });
      expect(rotation).toMatchObject({ state: 'finished', done: 1, failed: 1 });
      expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 destroyed', '3 active']);
      expect(await admin.readSecret('lost-dek', 'b')).toBe('b');
    });
  });

  describe('an admin', () => {
    test('pauses, resumes and cancels a rotation; all values are readable all the time', async () => {
      await admin.createVault('steered');
      await admin.putSecret('steered', 's', 'v');
      const vaultId = await idOf(admin, 'steered');
      const id = await start(admin, { kind: 'dek', vault: 'steered' });
      await admin.post(`/rotations/${id}:resume`).expect(409);
      expect((await admin.post(`/rotations/${id}:pause`).expect(200)).body).toMatchObject({ state: 'paused' });
      await system.runJob('rotation.run', { rotationId: id });
      expect(await deksOf(system, vaultId)).toEqual(['1 active']);
      expect(await show(admin, id)).toMatchObject({ state: 'paused', done: 0 });
      await admin.post(`/rotations/${id}:pause`).expect(409);
      await admin.post(`/rotations/${id}:resume`).expect(200);
      await onlyRenew(system, id);
      expect(await admin.readSecret('steered', 's')).toBe('v');
      expect((await admin.post(`/rotations/${id}:cancel`).expect(200)).body).toMatchObject({ state: 'cancelled' });
      await system.runJob('rotation.run', { rotationId: id });
      expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 active']);
      expect(await admin.readSecret('steered', 's')).toBe('v');
      for (const verb of ['pause', 'resume', 'cancel']) await admin.post(`/rotations/${id}:${verb}`).expect(409);
      expect(await trailOf(admin, id)).toEqual([
        'rotation.start',
        'rotation.resume!',
        'rotation.pause',
        'rotation.pause!',
        'rotation.resume',
        'dek.rotate 2',
        'rotation.cancel',
        'rotation.pause!',
        'rotation.resume!',
        'rotation.cancel!',
      ]);
      const next = await rotate(system, admin, { kind: 'dek', vault: 'steered' });
      expect(next).toMatchObject({ state: 'finished', done: 1 });
      expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 destroyed', '3 active']);
    });

    test('sees the rotations newest first, in pages; oversight sees them too and starts none', async () => {
      await admin.createVault('listed');
      const ids = [];
      for (let i = 0; i < 3; i += 1) {
        ids.push(await start(admin, { kind: 'dek', vault: 'listed' }));
        system.passTime(1);
      }
      const first = (await carla.get('/rotations?limit=2').expect(200)).body;
      expect(first.items).toMatchObject([{ id: ids[2] }, { id: ids[1] }]);
      const second = (await admin.get(`/rotations?limit=2&cursor=${first.nextCursor}`).expect(200)).body;
      expect(second.items[0]).toMatchObject({ id: ids[0], state: 'running', kind: 'dek' });
      await carla.get(`/rotations/${ids[0]}`).expect(200);
      await carla.post('/rotations', { kind: 'dek' }).expect(403);
      await carla.post(`/rotations/${ids[0]}:pause`).expect(403);
      for (const id of ids) await admin.post(`/rotations/${id}:cancel`).expect(200);
    });

    test('gets a clear answer to a bad request', async () => {
      await admin.post('/rotations', { kind: 'all' }).expect(400);
      await admin.post('/rotations', { kind: 'kek', vault: 'listed' }).expect(400);
      await admin.post('/rotations', { kind: 'dek', vault: 'nowhere' }).expect(404);
      await admin.get('/rotations?cursor=x').expect(400);
      await admin.get('/rotations/0190b2f0-0000-7000-8000-000000000000').expect(404);
      await admin.post('/rotations/0190b2f0-0000-7000-8000-000000000000:pause').expect(404);
      await alice.post('/rotations', { kind: 'dek' }).expect(403);
      await alice.get('/rotations').expect(403);
      await alice.get('/keks').expect(403);
    });
  });
});
