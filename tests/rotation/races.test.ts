import type { Db } from '@cardea/storage/db';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { VaultContext } from '@cardea/vault/context';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { putSecret } from '@cardea/vault/secrets/put-secret';
import { readSecret } from '@cardea/vault/secrets/read-secret';
import { Audited } from '@cardea/contracts/audited';
import { afterEach, describe, expect, test } from '@jest/globals';
import { callerOf, expectEventually } from '../access/probes.ts';
import { query } from '../secrets/ground.ts';
import {
  createBigVault,
  deksOf,
  idOf,
  onlyRenew,
  recordsIn,
  rotate,
  runUntilStopped,
  runWithPause,
  sealedUnder,
  show,
  start,
} from './ground.ts';

const encoder = new TextEncoder();

inEachProfile((system, { admin }) => {
  const open: Db[] = [];
  afterEach(async () => {
    for (const db of open.splice(0)) await db.close();
  });

  describe('a new DEK waits for a write that began under the old one', () => {
    test('and the value is resealed', async () => {
      await admin.createVault('late');
      await admin.putSecret('late', 'other', 'v');
      const vaultId = await idOf(admin, 'late');
      const id = await start(admin, { kind: 'dek', vault: 'late' });
      const held = await holdWrite('late', 's', 'late');
      const renewing = onlyRenew(system, id);
      await expectToWait(renewing);
      held.release();
      await Promise.all([renewing, held.written]);
      expect(await sealedUnder(system, vaultId)).toEqual(['other 1: 1', 's 1: 1']);
      await system.runJob('rotation.run', { rotationId: id });
      expect(await show(admin, id)).toMatchObject({ state: 'finished', done: 2 });
      await expectAllUnder(vaultId, 2);
      expect(await admin.readSecret('late', 's')).toBe('late');
    });

    test('so that the old one is not destroyed before', async () => {
      await admin.createVault('too-late');
      const vaultId = await idOf(admin, 'too-late');
      // The DEK was used, and the vault has no row: nothing but the lock of the vault can hold up the rotation.
      await admin.putSecret('too-late', 'other', 'v');
      await admin.post('/vaults/too-late/secrets/other:purge').expect(204);
      const held = await holdWrite('too-late', 's', 'late');
      const rotating = rotate(system, admin, { kind: 'dek', vault: 'too-late' });
      await expectToWait(rotating);
      expect(await deksOf(system, vaultId)).toEqual(['1 active']);
      held.release();
      await Promise.all([rotating, held.written]);
      await expectAllUnder(vaultId, 2);
      expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 active']);
      expect(await admin.readSecret('too-late', 's')).toBe('late');
    });
  });

  test('a read that found its row before the old DEK was destroyed gets the value', async () => {
    await admin.createVault('between');
    await admin.putSecret('between', 's', 'v');
    const { db, deks } = system.vault;
    let isFirst = true;
    const slow: VaultContext = {
      ...system.vault,
      db: {
        ...db,
        async query<Row>(sql: string, params?: Parameters<Db['query']>[1]) {
          const rows = await db.query<Row>(sql, params);
          if (isFirst && sql.includes('left join secret_version')) {
            isFirst = false;
            await rotate(system, admin, { kind: 'dek', vault: 'between' });
            deks.clear();
          }
          return rows;
        },
      },
    };
    const read = await readSecret(
      slow,
      await callerOf(admin),
      { vault: 'between', name: 's' },
      {
        conditions: {},
        resolve: false,
      },
    );
    expect(isFirst).toBe(false);
    if (!(read instanceof Audited)) throw new Error('there is no value');
    expect(new TextDecoder().decode(read.value.bytes)).toBe('v');
  });

  test('two workers share a rotation: every row is resealed once, and every vault gets one DEK', async () => {
    const vaults = Array.from({ length: 6 }, (_, i) => `shared-${i}`);
    for (const vault of vaults) {
      await admin.createVault(vault);
      for (const name of ['a', 'b', 'c']) await admin.putSecret(vault, name, vault);
    }
    const id = await start(admin, { kind: 'dek' });
    await Promise.all([0, 1, 2].map(() => system.runJob('rotation.run', { rotationId: id })));
    const rotation = await show(admin, id);
    expect(rotation).toMatchObject({ state: 'finished', failed: 0 });
    expect(rotation.done).toBe(rotation.total);
    const records = await recordsIn(admin, id);
    const resealed = records.filter(({ action }) => action === 'dek.reseal').map(({ resource }) => resource!.count!);
    expect(resealed.reduce((sum, count) => sum + count, 0)).toBe(rotation.done);
    expect(records.filter(({ action }) => action === 'rotation.finish')).toHaveLength(1);
    for (const vault of vaults) {
      const vaultId = await idOf(admin, vault);
      expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 active']);
      await expectAllUnder(vaultId, 2);
      expect(await admin.readSecret(vault, 'c')).toBe(vault);
    }
    // The job again: there is nothing left to do.
    await system.runJob('rotation.run', { rotationId: id });
    expect(await recordsIn(admin, id)).toHaveLength(records.length);
  });

  test('a process that stops finishes its page, and another goes on from there', async () => {
    const vaultId = await createBigVault(admin, 'many');
    const id = await start(admin, { kind: 'dek', vault: 'many' });
    // It looks before each of the two claims, and after the first page.
    await runUntilStopped(system, id, 3);
    const stopped = await show(admin, id);
    expect(stopped).toMatchObject({ state: 'running', total: 300 });
    expect(stopped.done).toBeGreaterThan(0);
    expect(stopped.done).toBeLessThan(300);
    expect(stopped.rowsPerSecond).toBeGreaterThan(0);
    expect(stopped.estimatedEnd).toBeDefined();
    expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 active']);
    for (const i of [0, 150, 299]) expect(await admin.readSecret('many', `s${i}`)).toBe(`v${i}`);
    await system.runJob('rotation.run', { rotationId: id });
    expect(await show(admin, id)).toMatchObject({ state: 'finished', done: 300 });
    await expectAllUnder(vaultId, 2);
  });

  test('a page that is under way when its rotation is paused or cancelled changes nothing', async () => {
    for (const [verb, state] of [
      ['pause', 'paused'],
      ['cancel', 'cancelled'],
    ]) {
      const vaultId = await createBigVault(admin, `to-${verb}`);
      const id = await start(admin, { kind: 'dek', vault: `to-${verb}` });
      await onlyRenew(system, id);
      const work = () => admin.post(`/rotations/${id}:${verb}`).expect(200);
      await runWithPause(system, id, { nth: 2, work });
      const { done } = await show(admin, id);
      expect(await show(admin, id)).toMatchObject({ state, done, total: 300 });
      const lines = await sealedUnder(system, vaultId);
      expect(lines.filter((line) => line.endsWith(': 2'))).toHaveLength(done);
      expect(done).toBeGreaterThan(0);
      expect(done).toBeLessThan(200);
    }
  });

  test('a rotation whose DEK is replaced by another rotation goes on under the newest DEK', async () => {
    const vaultId = await createBigVault(admin, 'overtaken');
    const [first, second] = [
      await start(admin, { kind: 'dek', vault: 'overtaken' }),
      await start(admin, { kind: 'dek', vault: 'overtaken' }),
    ];
    await onlyRenew(system, first);
    await runWithPause(system, first, { nth: 2, work: () => onlyRenew(system, second) });
    expect(await show(admin, first)).toMatchObject({ state: 'finished', failed: 0 });
    await expectAllUnder(vaultId, 3);
    expect(await deksOf(system, vaultId)).toEqual(['1 destroyed', '2 destroyed', '3 active']);
    await system.runJob('rotation.run', { rotationId: second });
    expect(await show(admin, second)).toMatchObject({ state: 'finished', done: 0 });
    expect(await admin.readSecret('overtaken', 's299')).toBe('v299');
  });

  test('a value that is written, destroyed or moved while its page is under way is left as it is', async () => {
    const vaultId = await createBigVault(admin, 'changing');
    await admin.createVault('refuge');
    const id = await start(admin, { kind: 'dek', vault: 'changing' });
    await onlyRenew(system, id);
    const work = async () => {
      for (let i = 0; i < 300; i += 50) await admin.putSecret('changing', `s${i}`, 'written');
      await admin.post('/vaults/changing/secrets/s1:move', { vault: 'refuge', name: 's1' }).expect(200);
      await admin.post('/vaults/changing/secrets/s2:destroy', { versions: [1] }).expect(200);
      await admin.post('/vaults/changing/secrets/s3:purge').expect(204);
    };
    await runWithPause(system, id, { nth: 1, work });
    expect(await show(admin, id)).toMatchObject({ state: 'finished', failed: 0 });
    expect((await sealedUnder(system, vaultId)).filter((line) => line.endsWith(': 1'))).toEqual([]);
    expect(await admin.readSecret('changing', 's50')).toBe('written');
    expect((await admin.get('/vaults/changing/secrets/s50?version=1').expect(200)).body.value).toBe('v50');
    expect(await admin.readSecret('refuge', 's1')).toBe('v1');
    await admin.get('/vaults/changing/secrets/s2').expect(410);
    await admin.get('/vaults/changing/secrets/s3').expect(404);
  });

  test('the claim of a process that died holds up its vault for a minute, and no other', async () => {
    for (const vault of ['claimed', 'free']) {
      await admin.createVault(vault);
      await admin.putSecret(vault, 's', 'v');
    }
    const [claimed, free] = [await idOf(admin, 'claimed'), await idOf(admin, 'free')];
    const id = await start(admin, { kind: 'dek' });
    const claim = (untilMs: number) =>
      query(system, `update rotation_vault set claimed_by = 'dead', claimed_until = $2 where vault_id = $1`, [
        claimed,
        system.now().getTime() + untilMs,
      ]);
    await claim(MINUTE_MS);
    await system.runJob('rotation.run', { rotationId: id });
    expect(await show(admin, id)).toMatchObject({ state: 'running' });
    expect(await deksOf(system, free)).toEqual(['1 destroyed', '2 active']);
    expect(await deksOf(system, claimed)).toEqual(['1 active']);
    system.passTime(MINUTE_MS);
    await onlyRenew(system, id);
    expect(await deksOf(system, claimed)).toEqual(['1 retiring', '2 active']);
    // Written before the clock was set back by a day.
    await claim(24 * 60 * MINUTE_MS);
    await system.runJob('rotation.run', { rotationId: id });
    expect(await show(admin, id)).toMatchObject({ state: 'finished' });
    expect(await deksOf(system, claimed)).toEqual(['1 destroyed', '2 active']);
  });

  test('without the audit log or kek-service nothing changes, and the job goes on when they are back', async () => {
    await admin.createVault('away');
    await admin.putSecret('away', 's', 'v');
    const vaultId = await idOf(admin, 'away');
    const id = await start(admin, { kind: 'dek', vault: 'away' });
    const running = () => system.runJob('rotation.run', { rotationId: id });
    await system.stopService('kek');
    await expect(running()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await deksOf(system, vaultId)).toEqual(['1 active']);
    await system.startService('kek');
    await onlyRenew(system, id);
    await system.stopService('audit');
    await expect(running()).rejects.toMatchObject({ code: 'unavailable' });
    expect(await deksOf(system, vaultId)).toEqual(['1 retiring', '2 active']);
    await system.startService('audit');
    // api-service and kek-service find it again by themselves.
    await expectEventually(running);
    expect(await show(admin, id)).toMatchObject({ state: 'finished' });
  });

  /** A write on a connection of its own that has done everything but its first commit. */
  async function holdWrite(vault: string, name: string, value: string) {
    const db = system.openDatabase();
    open.push(db);
    const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let isFirst = true;
    const lockingTransaction: Db['lockingTransaction'] = (locks, work) =>
      db.lockingTransaction(locks, async (tx) => {
        const result = await work(tx);
        if (isFirst) {
          isFirst = false;
          reached.resolve();
          await released.promise;
        }
        return result;
      });
    const ctx: VaultContext = { ...system.vault, db: { ...db, lockingTransaction } };
    // The DEK is in the cache, so the first attempt of the transaction gets to its end.
    await system.vault.deks.load({ vaultId: await idOf(admin, vault), dekVersion: 1 });
    const put = { value: { bytes: encoder.encode(value), encoding: 'utf8' as const }, options: {}, conditions: {} };
    const written = putSecret(ctx, await callerOf(admin), { vault, name }, put);
    await reached.promise;
    return { written, release: () => released.resolve() };
  }

  async function expectAllUnder(vaultId: string, dekVersion: number): Promise<void> {
    const lines = await sealedUnder(system, vaultId);
    expect(lines.filter((line) => !line.endsWith(`: ${dekVersion}`))).toEqual([]);
  }
});

async function expectToWait(work: Promise<unknown>): Promise<void> {
  const waited = new Promise((resolve) => setTimeout(resolve, 300, 'waits'));
  expect(await Promise.race([work, waited])).toBe('waits');
}
