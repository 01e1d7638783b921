import type { Person } from '@cardea/testkit/person';
import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { DAY_MS } from '@cardea/contracts/durations';
import { newSecret } from '@cardea/vault/secrets/secret-state';
import { insertSecret } from '@cardea/vault/secrets/secret-store';
import type { SecretRow } from '@cardea/vault/secrets/secret-store';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { recordsOf } from '../identity/identity.ts';
import { at, contents, eventsOf, namesIn, query, trail } from './ground.ts';

// A secret may have only its metadata. No call makes one yet, so these tests insert it.
describe.each(['mini', 'full'] as const)('in profile %s, a secret without a version', (profile) => {
  let system: TestSystem;
  let alice: Person;

  beforeAll(async () => {
    system = await createTestSystem(profile);
    alice = await system.as('alice');
  });
  afterAll(async () => {
    await system[Symbol.asyncDispose]();
  });

  /** Inserts one into a vault, which is made if it does not exist. Returns its path. */
  async function given(vault: string, name = 's', what: Partial<SecretRow> = {}): Promise<string> {
    await alice.post('/vaults', { name: vault });
    const [{ id: vaultId } = { id: '' }] = await query<{ id: string }>(system, `select id from vault where name = $1`, [
      vault,
    ]);
    const secret = newSecret({ id: `${vaultId}-${name}`, vaultId, name, at: system.now().getTime() });
    await system.vault.db.transaction((tx) =>
      insertSecret(tx, { ...secret, metadata: '{"team":"early"}', max_versions: 3, ...what, created_by: 'user:test' }),
    );
    return at(vault, name);
  }

  const search = async (vault: string) => {
    const { body } = await alice.get('/secrets?metadata.team=early').expect(200);
    return (body.items as { vault: string; name: string }[])
      .filter((item) => item.vault === vault)
      .map(({ name }) => name);
  };

  test('has nothing to read, change or delete: every call for it is refused and recorded', async () => {
    const path = await given('refused');
    const secrets = '/vaults/refused/secrets';
    const before = await contents(system);
    const carla = await system.as('carla');
    for (const [asked, action] of [
      [alice.get(path), 'secret.read'],
      [alice.get(`${path}?version=1`), 'secret.read'],
      [alice.post(`${secrets}:batchRead`, { names: ['s'] }), 'secret.read'],
      [carla.post(`${path}:breakGlass`, { reason: 'the yearly exercise' }), 'secret.breakGlass'],
      [alice.get(`${path}:versions`), 'secret.versions'],
      [alice.patch(path, { metadata: { a: 'b' } }), 'secret.update'],
      [alice.post(`${path}:rollback`, { version: 1 }), 'secret.rollback'],
      [alice.post(`${path}:destroy`, { versions: [1] }), 'secret.destroy'],
      [alice.post(`${path}:move`, { name: 'elsewhere' }), 'secret.move'],
      [alice.delete(path), 'secret.delete'],
      [alice.post(`${secrets}:delete`, { names: ['s'] }), 'secret.delete'],
    ] as const) {
      const answer = await asked;
      expect([action, answer.status, answer.body.code]).toEqual([action, 404, 'not_found']);
      const resource = { vault: 'refused', name: 's' };
      expect(await recordsOf(system, answer)).toMatchObject([
        { action, decision: 'deny', rule: 'no-such-version', resource },
      ]);
    }
    const restored = await alice.post(`${path}:restore`, {}).expect(404);
    expect(await recordsOf(system, restored)).toMatchObject([{ decision: 'deny', rule: 'not-in-trash' }]);
    const prefixed = await alice.post(`${secrets}:delete`, { prefix: 's' }).expect(404);
    expect(await recordsOf(system, prefixed)).toMatchObject([{ decision: 'deny', rule: 'no-such-secret' }]);
    expect(await contents(system)).toEqual(before);
  });

  test('is in no list, search or export', async () => {
    await given('unlisted');
    await alice.putSecret('unlisted', 'other', 'v');
    for (const list of [
      '',
      '?prefix=s',
      '?delimiter=/',
      '?deleted=true',
      '?q=s',
      '?expiringBefore=2100-01-01T00:00:00Z',
    ])
      expect([list, (await namesIn(alice, 'unlisted', list)).filter((name) => name !== 'other')]).toEqual([list, []]);
    expect(await search('unlisted')).toEqual([]);
    const exported = await alice.post('/vaults/unlisted/secrets:export', { format: 'json' }).expect(200);
    expect(JSON.parse(exported.body.content as string)).toEqual({ other: 'v' });
  });

  test('keeps its metadata and settings for its first value, and is found from then on', async () => {
    const expiresAt = system.now().getTime() + DAY_MS;
    const path = await given('first', 's', { expires_at: expiresAt });
    await alice.put(path, { value: 'v' }).set('If-Match', '"0"').expect(412);
    const put = await alice.put(path, { value: 'v' }).set('If-None-Match', '*').expect(201);
    expect([put.body, put.headers['etag']]).toMatchObject([{ version: 1, changed: true }, '"1"']);
    expect((await alice.get('/vaults/first/secrets').expect(200)).body.items).toMatchObject([
      {
        name: 's',
        version: 1,
        metadata: { team: 'early' },
        maxVersions: 3,
        expiresAt: new Date(expiresAt).toISOString(),
      },
    ]);
    expect(await search('first')).toEqual(['s']);
    expect(await alice.readSecret('first', 's')).toBe('v');
  });

  test('gets its first value by each call that writes one', async () => {
    for (const name of ['generated', 'batched', 'imported']) await given('writers', name);
    await alice.post(`${at('writers', 'generated')}:generate`, {}).expect(201);
    await alice
      .post('/vaults/writers/secrets:batchWrite', {
        secrets: [{ name: 'batched', value: 'v', metadata: { team: 'late' } }],
      })
      .expect(200);
    const document = { format: 'dotenv', content: 'imported=v' };
    const { body } = await alice.post('/vaults/writers/secrets:import', document).expect(200);
    expect(body.items).toEqual([{ name: 'imported', result: 'created', version: 1 }]);
    expect(await namesIn(alice, 'writers')).toEqual(['batched', 'generated', 'imported']);
    expect(await search('writers')).toEqual(['generated', 'imported']);
  });

  test('continues to count where another secret of its name has expired', async () => {
    await alice.createVault('counting');
    for (const value of ['one', 'two']) await alice.putSecret('counting', 's', value);
    await alice.request('post', `${at('counting', 's')}:purge`).expect(204);
    const path = await given('counting');
    expect((await alice.put(path, { value: 'three' }).expect(201)).body.version).toBe(3);
  });

  test('is purged, and leaves nothing', async () => {
    const path = await given('purged');
    const purged = await alice.request('post', `${path}:purge`).expect(204);
    const [record] = await recordsOf(system, purged);
    expect(record).toMatchObject({
      action: 'secret.purge',
      decision: 'allow',
      resource: { vault: 'purged', name: 's' },
    });
    expect(record!.resource).not.toHaveProperty('version');
    expect(
      await query(system, `select id from secret where id like '%-s' and vault_id = $1`, [record!.resource!.vaultId!]),
    ).toEqual([]);
    expect(
      await query(system, `select name from given_up_name where vault_id = $1`, [record!.resource!.vaultId!]),
    ).toEqual([]);
    expect((await alice.put(path, { value: 'v' }).expect(201)).body.version).toBe(1);
    expect((await alice.get('/vaults/purged/secrets').expect(200)).body.items).toMatchObject([{ metadata: {} }]);
  });

  test('moves with the secrets below a prefix, and keeps its name in use', async () => {
    await given('moving', 'app/s');
    await alice.putSecret('moving', 'app/other', 'v');
    await alice.post(`${at('moving', 'app/other')}:move`, { name: 'app/s' }).expect(409);
    const { body } = await alice.post('/vaults/moving/secrets:move', { prefix: 'app', toPrefix: 'svc' }).expect(200);
    expect(body.items).toEqual(['other', 's'].map((name) => ({ name: `app/${name}`, toName: `svc/${name}` })));
    expect(await namesIn(alice, 'moving')).toEqual(['svc/other']);
    await alice.get(at('moving', 'app/s')).expect(404);
    expect((await alice.put(at('moving', 'app/s'), { value: 'new' }).expect(201)).body.version).toBe(1);
    await alice.put(at('moving', 'svc/s'), { value: 'moved' }).expect(201);
    const { body: moved } = await alice.get('/vaults/moving/secrets?prefix=svc/s').expect(200);
    expect(moved.items).toMatchObject([{ name: 'svc/s', version: 1, metadata: { team: 'early' } }]);
  });

  test('may be the target of a reference, which leads nowhere', async () => {
    await given('named');
    const value = JSON.stringify({ $ref: { vault: 'named', name: 's' } });
    await alice.put(at('named', 'ref'), { value, contentType: 'application/vnd.cardea.reference+json' }).expect(201);
    await alice.get(at('named', 'ref')).expect(404);
    expect((await trail(system, 'named', 'secret.read')).at(-1)).toBe('secret.read! s no-such-version not_found');
    await alice.putSecret('named', 's', 'v');
    expect(await alice.readSecret('named', 'ref')).toBe('v');
  });

  test('counts in its vault, which is not empty', async () => {
    await given('holding');
    await alice.delete('/vaults/holding').expect(409);
    await alice.delete('/vaults/holding?recursive=true').expect(204);
    await system.runJob('vault.sweep', {});
    expect(await query(system, `select id from secret where vault_id not in (select id from vault)`)).toEqual([]);
  });

  test('can never be readable, trashed or due: the database refuses it', async () => {
    for (const [column, value] of Object.entries({ live: 1, trashed_at: 1, due_at: 1, announce_at: 1 }))
      await expect(given('wrong', 's', { [column]: value })).rejects.toThrow(/secret_without_version/);
    await given('wrong');
  });

  // The last test here, because days pass.
  test('expires without an event, and its first value may expire with it', async () => {
    const end = system.now().getTime() + 10 * DAY_MS;
    const [swept, unswept, early] = [
      await given('ending', 'swept', { expires_at: end }),
      await given('ending', 'unswept', { expires_at: end }),
      await given('ending', 'early', { expires_at: end }),
    ];
    await alice.put(early, { value: 'v' }).expect(201);
    system.passTime(10 * DAY_MS);
    alice = await system.as('alice');
    expect((await alice.put(unswept, { value: 'v' }).expect(201)).body).not.toHaveProperty('expiresAt');
    await system.runJob('secret.sweep', {});
    await system.runJob('secret.sweep', {});
    expect((await eventsOf(system, 'ending')).map(({ payload }) => payload)).toMatchObject([
      { name: 'early', version: 1 },
    ]);
    expect(await trail(system, 'ending', 'secret.expire')).toEqual(['secret.expire early 1 expiry']);
    await alice.get(early).expect(410);
    await alice.get(swept).expect(404);
    expect((await alice.put(swept, { value: 'v' }).expect(201)).body).not.toHaveProperty('expiresAt');
    for (const name of ['swept', 'unswept']) expect(await alice.readSecret('ending', name)).toBe('v');
  });
});
