import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { recordsOf } from '../identity/identity.ts';
import { idOf, pass } from '../rotation/ground.ts';
import { query } from '../secrets/ground.ts';
import { at, encrypt, keyTrail, makeKey } from './ground.ts';

const VAULT = 'lasting';
const usesOf = (version: { uses: { operation: string; last30Days: number; lastUsedBy: { name: string } }[] }) =>
  version.uses.map(({ operation, last30Days, lastUsedBy }) => `${operation} ${last30Days} ${lastUsedBy.name}`);
const keysOf = `/vaults/${VAULT}/keys`;
const plain = { plaintextBase64: 'AAAA' };

inEachProfile((system, { admin, alice }) => {
  beforeAll(async () => {
    await alice.createVault(VAULT);
  });

  const passAndSweep = async (ms: number) => {
    await pass(system, ms);
    await system.as('alice');
    // A job may run twice.
    for (let runs = 0; runs < 2; runs++) await system.runJob('key.sweep', {});
  };
  const rowsOf = async (table: string, name: string) => {
    const key = table === 'vault_key' ? 'id' : 'key_id';
    const rows = await query<{ n: number }>(
      system,
      `select count(*) as n from ${table} where ${key} in (select id from vault_key where name = $1)`,
      [name],
    );
    return rows[0]!.n;
  };

  describe('a deleted key', () => {
    const path = at(VAULT, 'doomed');

    test('was not protected, does nothing, shows who still uses it, and can be restored', async () => {
      await alice.post(keysOf, { name: 'doomed', algorithm: 'aes-256-gcm', deletionProtection: true }).expect(201);
      const ciphertext = await encrypt(alice, VAULT, 'doomed', plain);
      await alice.delete(path).expect(409);
      await alice.patch(path, { deletionProtection: false }).expect(200);
      for (const days of [6, 31]) await alice.delete(`${path}?pendingDays=${days}`).expect(400);
      const { body } = await alice.delete(path).expect(202);
      expect(body).toEqual({
        name: 'doomed',
        deleteAt: expect.any(String),
        lastUsedAt: expect.any(String),
        lastUsedBy: expect.objectContaining({ name: 'alice' }),
      });
      const inMs = Date.parse(body.deleteAt as string) - system.now().getTime();
      expect(Math.round(inMs / DAY_MS)).toBe(30);
      expect((await alice.get(path).expect(200)).body.deleteAt).toBe(body.deleteAt);

      const refused = await alice.post(`${path}:decrypt`, { ciphertext }).expect(409);
      expect(await recordsOf(system, refused)).toMatchObject([
        { action: 'key.decrypt', decision: 'deny', rule: 'key-deleted', actor: { name: 'alice' } },
      ]);
      await alice.post(`${path}:rotate`).expect(409);
      await alice.patch(path, { deletionProtection: true }).expect(409);
      await alice.patch(`${path}/versions/1`, { state: 'disabled' }).expect(409);
      await alice.delete(path).expect(409);
      await alice.post(keysOf, { name: 'doomed', algorithm: 'ed25519' }).expect(409);

      const restored = await alice.post(`${path}:restore`).expect(200);
      expect(restored.body).not.toHaveProperty('deleteAt');
      await alice.post(`${path}:restore`).expect(409);
      await alice.post(`${path}:decrypt`, { ciphertext }).expect(200);
      expect((await keyTrail(system, VAULT)).filter((line) => /doomed/.test(line))).toEqual([
        'key.create doomed v1 grant:owner',
        'key.encrypt doomed v1 grant:owner',
        'key.delete! doomed key-protected',
        'key.change doomed grant:owner',
        'key.delete! doomed',
        'key.delete! doomed',
        'key.delete doomed grant:owner',
        'key.read doomed grant:owner',
        'key.decrypt! doomed key-deleted',
        'key.rotate! doomed key-deleted',
        'key.change! doomed key-deleted',
        'key.changeVersion! doomed key-deleted',
        'key.delete! doomed key-deleted',
        'key.restore doomed grant:owner',
        'key.restore! doomed key-not-deleted',
        'key.decrypt doomed v1 grant:owner',
      ]);
    });

    test('is destroyed after the days, once, and its name is free', async () => {
      await alice.post(`${path}:rotate`).expect(200);
      await alice.delete(`${path}?pendingDays=7`).expect(202);
      await passAndSweep(7 * DAY_MS - HOUR_MS);
      expect(await rowsOf('key_version', 'doomed')).toBe(2);
      await passAndSweep(2 * HOUR_MS);
      await alice.get(path).expect(404);
      for (const table of ['vault_key', 'key_version', 'key_use'])
        expect([table, await rowsOf(table, 'doomed')]).toEqual([table, 0]);
      const entries = await admin.auditEntries({ vault: VAULT, action: 'key.destroy' });
      expect(entries.map(({ event }) => [event.actor.id, event.rule, event.resource?.name])).toEqual([
        ['cardea', 'key-pending-over', 'doomed'],
      ]);
      await makeKey(alice, VAULT, 'doomed', 'ed25519');
    });
  });

  test('a vault with a protected key is not deleted, whatever is asked', async () => {
    await alice.createVault('shielded');
    await alice
      .post('/vaults/shielded/keys', { name: 'root', algorithm: 'ed25519', deletionProtection: true })
      .expect(201);
    const refused = await alice.delete('/vaults/shielded?recursive=true').expect(409);
    expect(refused.body.detail).toContain('protected');
    expect(await recordsOf(system, refused)).toMatchObject([{ action: 'vault.delete', rule: 'key-protected' }]);
    await alice.patch(at('shielded', 'root'), { deletionProtection: false }).expect(200);
    await alice.delete('/vaults/shielded?recursive=true').expect(204);
  });

  describe('the schedule', () => {
    const path = at(VAULT, 'scheduled');
    const shown = async () => (await alice.get(path).expect(200)).body as Record<string, number | string>;

    test('makes a version after the period, and no other', async () => {
      await alice.post(keysOf, { name: 'scheduled', algorithm: 'ed25519', rotationPeriodSeconds: 3_600 }).expect(201);
      const before = await shown();
      await passAndSweep(HOUR_MS / 2);
      expect((await shown())['currentVersion']).toBe(1);
      await passAndSweep(HOUR_MS);
      const after = await shown();
      expect([after['currentVersion'], after['rotationPeriodSeconds']]).toEqual([2, 3_600]);
      expect(after['publicKeyPem']).not.toBe(before['publicKeyPem']);
      const untilNext = Date.parse(String(after['nextRotationAt'])) - system.now().getTime();
      expect(Math.round(untilNext / HOUR_MS)).toBe(1);
      const { body } = await alice.get(`${path}:versions`).expect(200);
      expect((body.items as { createdBy: object }[]).map(({ createdBy }) => createdBy)).toMatchObject([
        { type: 'service', id: 'cardea' },
        { type: 'user', name: 'alice' },
      ]);
      const [entry, ...more] = await admin.auditEntries({ vault: VAULT, action: 'key.rotate', actor: 'cardea' });
      expect(more).toEqual([]);
      expect(entry!.event).toMatchObject({ rule: 'key-rotation-due', resource: { name: 'scheduled', keyVersion: 2 } });
    });

    test('stops when the period is cleared, and not for a deleted key', async () => {
      await alice.patch(path, { rotationPeriodSeconds: null }).expect(200);
      expect(await shown()).not.toHaveProperty('nextRotationAt');
      await passAndSweep(2 * HOUR_MS);
      expect((await shown())['currentVersion']).toBe(2);
      await alice.patch(path, { rotationPeriodSeconds: 3_600 }).expect(200);
      await alice.delete(path).expect(202);
      await passAndSweep(2 * HOUR_MS);
      expect((await shown())['currentVersion']).toBe(2);
      await alice.patch(path, { rotationPeriodSeconds: 3_599 }).expect(400);
    });

    test('makes a version before random nonces could repeat, and none encrypts more than that', async () => {
      await makeKey(alice, VAULT, 'busy', 'aes-256-gcm');
      const busy = at(VAULT, 'busy');
      const setCount = (count: number) =>
        query(
          system,
          `update key_version set encryptions = ${count}
            where key_id in (select id from vault_key where name = 'busy') and version = 1`,
        );
      await setCount(2 ** 31 - 2);
      await encrypt(alice, VAULT, 'busy', plain);
      await alice.get(`${busy}:versions`).expect(200);
      await passAndSweep(1_000);
      expect((await alice.get(busy)).body.currentVersion).toBe(1);
      await encrypt(alice, VAULT, 'busy', plain);
      await alice.get(`${busy}:versions`).expect(200);
      await passAndSweep(1_000);
      expect((await alice.get(busy)).body.currentVersion).toBe(2);

      await setCount(2 ** 32);
      await alice.post(`${busy}:encrypt`, plain).expect(200);
      const refused = await alice.post(`${busy}:encrypt`, { ...plain, keyVersion: 1 }).expect(409);
      expect(await recordsOf(system, refused)).toMatchObject([{ action: 'key.encrypt', rule: 'key-version-full' }]);
    });
  });

  describe('the uses of a version', () => {
    const path = at(VAULT, 'counted');

    test('are counted by operation, and shown before it is retired', async () => {
      await makeKey(alice, VAULT, 'counted', 'aes-256-gcm');
      const ciphertext = await encrypt(alice, VAULT, 'counted', plain);
      await alice.post(`${path}:encrypt`, { items: [plain, plain] }).expect(200);
      await alice.post(`${path}:rotate`).expect(200);
      await alice.post(`${path}:rewrap`, { ciphertext }).expect(200);
      await admin.post(`${path}:decrypt`, { ciphertext }).expect(200);
      await alice.post(`${path}:decrypt`, { ciphertext: 'none' }).expect(400);
      const { body } = await alice.get(`${path}:versions`).expect(200);
      expect(body.items.map(usesOf)).toEqual([['encrypt 1 alice'], ['decrypt 2 admin', 'encrypt 3 alice']]);

      const dry = await alice.patch(`${path}/versions/1`, { state: 'disabled', dryRun: true }).expect(200);
      expect([dry.body.state, usesOf(dry.body)]).toEqual(['disabled', ['decrypt 2 admin', 'encrypt 3 alice']]);
      expect(await recordsOf(system, dry)).toMatchObject([{ action: 'key.changeVersion', reason: 'dry run' }]);
      await alice.patch(`${path}/versions/2`, { state: 'destroyed', dryRun: true }).expect(409);
      await alice.post(`${path}:decrypt`, { ciphertext }).expect(200);
    });

    test('count for 30 days, and the last stays known', async () => {
      await pass(system, 40 * DAY_MS);
      await system.as('alice');
      await encrypt(alice, VAULT, 'counted', { ...plain, keyVersion: 1 });
      const { body } = await alice.get(`${path}:versions`).expect(200);
      await system.runJob('event.sweep', {});
      expect(body.items.map(usesOf)).toEqual([['encrypt 0 alice'], ['decrypt 0 alice', 'encrypt 1 alice']]);
      expect(await rowsOf('key_use', 'counted')).toBe(3);
    });

    test('go with their vault', async () => {
      const vaultId = await idOf(admin, VAULT);
      await alice.delete(`/vaults/${VAULT}?recursive=true`).expect(204);
      await system.runJob('vault.sweep', {});
      const left = await query<{ n: number }>(
        system,
        `select (select count(*) from vault_key where vault_id = $1) + (select count(*) from key_use) as n`,
        [vaultId],
      );
      expect(left).toEqual([{ n: 0 }]);
    });
  });
});
