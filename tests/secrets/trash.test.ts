import { inEachProfile } from '@cardea/testkit/use-system';
import { createTestSystem, profiles } from '@cardea/testkit/system';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { expect, test } from '@jest/globals';
import { countStatuses, recordsOf } from '../identity/identity.ts';
import { at, contents, namesIn, query, storedVersions, trail } from './ground.ts';

inEachProfile((system, { alice }) => {
  /** Makes a vault with a secret `s` that has these values. Returns its path. */
  async function given(vault: string, ...values: string[]): Promise<string> {
    await alice.createVault(vault);
    for (const value of values) await alice.putSecret(vault, 's', value);
    return at(vault, 's');
  }

  // One with an empty object, as many clients send it, and the other without a body.
  const restore = (path: string) => alice.post(`${path}:restore`, {});
  const purge = (path: string) => alice.request('post', `${path}:purge`);
  const sweep = () => system.runJob('secret.sweep', {});

  /** The tables that still have a row of a secret. */
  async function rowsOf(secretId: string): Promise<string[]> {
    const tables = ['secret_version', 'secret_word', 'secret_label', 'secret_reference', 'break_glass'];
    const counts = await Promise.all([
      query(system, `select id from secret where id = $1`, [secretId]),
      ...tables.map((table) => query(system, `select secret_id from ${table} where secret_id = $1`, [secretId])),
    ]);
    return ['secret', ...tables].filter((_, i) => counts[i]!.length > 0);
  }

  async function idOf(vault: string, name: string): Promise<string> {
    const [row] = await query<{ id: string }>(
      system,
      `select id from secret where name = $2 and vault_id = (select id from vault where name = $1)`,
      [vault, name],
    );
    return row!.id;
  }

  /** Every call for an existing secret. */
  const asking = (path: string) => [
    alice.get(path),
    alice.get(`${path}?version=1`),
    alice.get(`${path}:versions`),
    alice.patch(path, { metadata: { a: 'b' } }),
    alice.post(`${path}:rollback`, { version: 1 }),
    alice.post(`${path}:destroy`, { versions: [1] }),
    alice.delete(path),
  ];

  test('a deleted secret does not exist for anybody, and is listed and found only in the trash', async () => {
    const path = await given('deleted', 'one', 'two');
    await alice.patch(path, { metadata: { team: 'gone' } }).expect(200);
    const deleted = await alice.delete(path).expect(204);
    expect(deleted.text).toBe('');
    expect(await recordsOf(system, deleted)).toMatchObject([
      { action: 'secret.delete', rule: 'grant:owner', resource: { vault: 'deleted', name: 's', version: 2 } },
    ]);
    const before = await contents(system);
    for (const answer of await Promise.all(asking(path))) {
      expect([answer.status, answer.body.code]).toEqual([404, 'not_found']);
    }
    expect(await contents(system)).toEqual(before);
    expect(await namesIn(alice, 'deleted')).toEqual([]);
    expect(await namesIn(alice, 'deleted', '?deleted=true')).toEqual(['s']);
    expect((await alice.get('/secrets?metadata.team=gone').expect(200)).body.items).toEqual([]);
    expect(await storedVersions(system, 'deleted', 's')).toEqual({ 1: true, 2: true });
  });

  test('a restored secret is as it was, and is restored only once', async () => {
    const path = await given('restored', 'one', 'two');
    await alice.patch(path, { metadata: { team: 'back' }, maxVersions: 7 }).expect(200);
    await alice.delete(path).expect(204);
    const restored = await restore(path).expect(200);
    expect(restored.body).toMatchObject({ name: 's', version: 2, metadata: { team: 'back' }, maxVersions: 7 });
    expect((await alice.get(path).expect(200)).body).toMatchObject({ value: 'two', version: 2 });
    expect((await alice.get(`${path}?version=1`).expect(200)).body.value).toBe('one');
    expect(await namesIn(alice, 'restored')).toEqual(['s']);
    expect(await namesIn(alice, 'restored', '?deleted=true')).toEqual([]);
    expect((await alice.get('/secrets?metadata.team=back').expect(200)).body.items).toHaveLength(1);
    await restore(path).expect(404);
    await restore(at('restored', 'nothing')).expect(404);
    expect((await trail(system, 'restored')).filter((line) => line.includes('restore'))).toEqual([
      'secret.restore s 2 grant:owner',
      'secret.restore! s not-in-trash not_found',
      'secret.restore! nothing not-in-trash not_found',
    ]);
  });

  test('a value under a name in the trash is the next version, and the old ones stay hidden until they are restored', async () => {
    const path = await given('again', 'one', 'two');
    await alice.delete(path).expect(204);
    const put = await alice.put(path, { value: 'two' }).expect(201);
    expect([put.body, put.headers['etag']]).toMatchObject([{ version: 3, changed: true }, '"3"']);
    const statusOf = async (version: number) => (await alice.get(`${path}?version=${version}`)).status;
    expect(await Promise.all([1, 2, 3].map(statusOf))).toEqual([404, 404, 200]);
    await alice.post(`${path}:rollback`, { version: 1 }).expect(404);
    await alice.post(`${path}:destroy`, { versions: [3, 1] }).expect(404);
    await alice.patch(path, { version: 2, ttlSeconds: 60 }).expect(404);
    expect(await storedVersions(system, 'again', 's')).toEqual({ 1: true, 2: true, 3: true });
    const states = async () =>
      (await alice.get(`${path}:versions`).expect(200)).body.items.map(({ state }: { state: string }) => state);
    expect(await states()).toEqual(['current', 'deleted', 'deleted']);
    expect(await namesIn(alice, 'again')).toEqual(['s']);
    expect(await namesIn(alice, 'again', '?deleted=true')).toEqual(['s']);

    await restore(path).expect(200);
    expect(await Promise.all([1, 2, 3].map(statusOf))).toEqual([200, 200, 200]);
    expect(await states()).toEqual(['current', 'superseded', 'superseded']);
    expect(await alice.readSecret('again', 's')).toBe('two');

    // All of them go into the trash, and again after the next value.
    await alice.delete(path).expect(204);
    await alice.put(path, { value: 'four' }).expect(201);
    await alice.delete(path).expect(204);
    await alice.get(path).expect(404);
    expect((await restore(path).expect(200)).body.version).toBe(4);
    expect(await Promise.all([1, 2, 3, 4].map(statusOf))).toEqual([200, 200, 200, 200]);
  });

  test('versions in the trash stay there, however often the name is written', async () => {
    await alice.post('/vaults', { name: 'pushed', maxVersions: 2 }).expect(201);
    const path = at('pushed', 's');
    for (const value of ['one', 'two']) await alice.putSecret('pushed', 's', value);
    await alice.delete(path).expect(204);
    await alice.putSecret('pushed', 's', 'three');
    expect(await namesIn(alice, 'pushed', '?deleted=true')).toEqual(['s']);
    for (const value of ['four', 'five', 'six']) await alice.putSecret('pushed', 's', value);
    expect(await storedVersions(system, 'pushed', 's')).toEqual({ 1: true, 2: true, 5: true, 6: true });
    await restore(path).expect(200);
    expect((await alice.get(`${path}?version=1`).expect(200)).body.value).toBe('one');
  });

  test('versions restored beside newer ones return to the trash at the limit, and can be restored again', async () => {
    await alice.post('/vaults', { name: 'returned', maxVersions: 2 }).expect(201);
    const path = at('returned', 's');
    for (const value of ['one', 'two']) await alice.putSecret('returned', 's', value);
    await alice.delete(path).expect(204);
    for (const value of ['three', 'four']) await alice.putSecret('returned', 's', value);
    const states = async () =>
      (await alice.get(`${path}:versions`).expect(200)).body.items.map(
        ({ version, state }: { version: number; state: string }) => `${version} ${state}`,
      );

    expect((await restore(path).expect(200)).body.nextWrite).toEqual({ toTrash: [1, 2], destroyed: [] });
    expect(await states()).toEqual(['4 current', '3 superseded', '2 superseded', '1 superseded']);
    // The identical value makes no version, so it needs no room.
    await alice.putSecret('returned', 's', 'four');
    expect(await namesIn(alice, 'returned', '?deleted=true')).toEqual([]);
    const written = await alice.put(path, { value: 'five' }).expect(200);
    expect(await recordsOf(system, written)).toMatchObject([
      { action: 'secret.write', resource: { version: 5 } },
      { action: 'secret.destroy', rule: 'max-versions', resource: { version: 3 } },
      {
        action: 'secret.delete',
        rule: 'max-versions',
        reason: 'versions 1 to 2',
        resource: { version: 2, count: 2 },
      },
    ]);
    expect(await states()).toEqual(['5 current', '4 superseded', '2 deleted', '1 deleted']);
    expect(await namesIn(alice, 'returned', '?deleted=true')).toEqual(['s']);
    await alice.get(`${path}?version=1`).expect(404);
    expect(await alice.readSecret('returned', 's')).toBe('five');

    await restore(path).expect(200);
    expect((await alice.get(`${path}?version=1`).expect(200)).body.value).toBe('one');
    // All are restored and nothing newer is beside them. From then on the oldest is destroyed as usual.
    await alice.delete(path).expect(204);
    expect((await restore(path).expect(200)).body.nextWrite).toEqual({ toTrash: [], destroyed: [1, 2, 4] });
    await alice.putSecret('returned', 's', 'six');
    expect(await storedVersions(system, 'returned', 's')).toEqual({ 5: true, 6: true });
    expect(await namesIn(alice, 'returned', '?deleted=true')).toEqual([]);

    // Within the limit, also with the next version, nothing has to be said.
    await alice.delete(path).expect(204);
    await alice.patch('/vaults/returned', { maxVersions: 3 }).expect(200);
    expect((await restore(path).expect(200)).body).not.toHaveProperty('nextWrite');
    await alice.putSecret('returned', 's', 'seven');
    expect(await states()).toEqual(['7 current', '6 superseded', '5 superseded']);
  });

  test('a restored version that the next write would take is kept by a higher limit, or by a rollback', async () => {
    await alice.post('/vaults', { name: 'saved', maxVersions: 1 }).expect(201);
    for (const name of ['limit', 'rollback']) {
      const path = at('saved', name);
      await alice.putSecret('saved', name, 'old');
      await alice.delete(path).expect(204);
      await alice.putSecret('saved', name, 'new');
      expect((await restore(path).expect(200)).body.nextWrite).toEqual({ toTrash: [1], destroyed: [] });
    }
    await alice.patch(at('saved', 'limit'), { maxVersions: 3 }).expect(200);
    await alice.putSecret('saved', 'limit', 'next');
    expect((await alice.get(`${at('saved', 'limit')}?version=1`).expect(200)).body.value).toBe('old');
    const back = await alice.post(`${at('saved', 'rollback')}:rollback`, { version: 1 }).expect(200);
    expect(await alice.readSecret('saved', 'rollback')).toBe('old');
    expect((await recordsOf(system, back)).map(({ action, resource }) => [action, resource?.version])).toEqual([
      ['secret.rollback', 3],
      ['secret.destroy', 2],
      ['secret.delete', 1],
    ]);
  });

  test('any single version may be in the trash', async () => {
    const path = await given('single', 'one', 'two', 'three');
    const id = await idOf('single', 's');
    const hide = async (version: number) => {
      const now = system.now().getTime();
      await query(system, `update secret_version set deleted_at = $3 where secret_id = $1 and version = $2`, [
        id,
        version,
        now,
      ]);
      await query(system, `update secret set trashed_at = $2 where id = $1`, [id, now]);
    };
    const statuses = () =>
      Promise.all(
        ['', '?version=1', '?version=2', '?version=3'].map(async (version) => (await alice.get(path + version)).status),
      );
    await hide(2);
    expect(await statuses()).toEqual([200, 200, 404, 200]);
    await alice.post(`${path}:destroy`, { versions: [1, 2] }).expect(404);
    await restore(path).expect(200);
    expect(await statuses()).toEqual([200, 200, 200, 200]);

    await hide(3);
    expect(await statuses()).toEqual([404, 200, 200, 404]);
    expect(await namesIn(alice, 'single')).toEqual(['s']);
    const exported = await alice.post('/vaults/single/secrets:export', { format: 'json' }).expect(200);
    expect(exported.body.count).toBe(0);
    // It is hidden, so the identical value is a new one.
    expect((await alice.put(path, { value: 'three' }).expect(200)).body).toMatchObject({ version: 4, changed: true });
    await alice.delete(path).expect(204);
    await restore(path).expect(200);
    expect(await alice.readSecret('single', 's')).toBe('three');
  });

  test('a name in the trash starts again without the metadata, version limit and expiry of the hidden versions', async () => {
    await alice.createVault('fresh');
    const path = at('fresh', 's');
    await alice.put(path, { value: 'old', metadata: { note: 'of the old one' }, maxVersions: 3 }).expect(201);
    await alice.patch(path, { ttlSeconds: 60 }).expect(200);
    await alice.delete(path).expect(204);
    await alice.put(path, { value: 'new' }).expect(201);
    const { body } = await alice.get('/vaults/fresh/secrets').expect(200);
    expect(body.items).toEqual([{ ...body.items[0], version: 2, metadata: {} }]);
    expect(body.items[0]).not.toHaveProperty('maxVersions');
    expect(body.items[0]).not.toHaveProperty('expiresAt');
    system.passTime(MINUTE_MS);
    expect(await alice.readSecret('fresh', 's')).toBe('new');
    // The expiry belonged to the old value, hidden or not.
    await restore(path).expect(200);
    await alice.get(`${path}?version=1`).expect(410);
  });

  test.each([true, false])(
    'a purge leaves no row, from the trash (%j) or not, and later versions continue the count',
    async (fromTrash) => {
      const vault = `purged-${fromTrash ? 'trash' : 'live'}`;
      const path = await given(vault, 'one', 'two');
      const value = JSON.stringify({ $ref: { vault, name: 'other' } });
      const contentType = 'application/vnd.cardea.reference+json';
      await alice.put(path, { value, contentType, metadata: { a: 'b' } }).expect(200);
      const reason = 'the yearly exercise';
      await (await system.as('carla')).post(`${path}:breakGlass`, { reason }).expect(200);
      const id = await idOf(vault, 's');
      expect(await rowsOf(id)).toHaveLength(6);
      if (fromTrash) await alice.delete(path).expect(204);
      await purge(path).expect(204);
      expect(await rowsOf(id)).toEqual([]);
      await alice.get(path).expect(404);
      await restore(path).expect(404);
      await purge(path).expect(404);
      expect((await trail(system, vault)).filter((line) => line.includes('purge'))).toEqual([
        'secret.purge s 3 grant:owner',
        'secret.purge! s no-such-secret not_found',
      ]);
      // The count continues, so that no tag stands for two values.
      expect((await alice.put(path, { value: 'new' }).expect(201)).body.version).toBe(4);
    },
  );

  test('if many callers delete at once one does', async () => {
    const path = await given('crowd', 'one');
    const answers = await Promise.all(Array.from({ length: 8 }, () => alice.delete(path)));
    expect(countStatuses(answers)).toEqual({ 204: 1, 404: 7 });
    const restored = await Promise.all(Array.from({ length: 8 }, () => restore(path)));
    expect(countStatuses(restored)).toEqual({ 200: 1, 404: 7 });
  });

  // The last tests here, because months pass.
  test('each version keeps its deleter and time, and all versions of a name stay as long as the last of them', async () => {
    const path = await given('marked', 'one');
    await alice.put('/vaults/marked/grants/user:bob', { secrets: ['delete', 'write'] }).expect(201);
    await alice.delete(path).expect(204);
    const first = system.now().getTime();
    system.passTime(20 * DAY_MS);
    const bob = await system.as('bob');
    await bob.put(path, { value: 'two' }).expect(201);
    await bob.delete(path).expect(204);
    const id = await idOf('marked', 's');
    const ids = await Promise.all(
      ['alice', 'bob'].map(
        async (name) => (await (await system.as(name as 'alice')).get('/auth/me')).body.id as string,
      ),
    );
    const marks = await query<{ version: number; deleted_at: number; deleted_by: string }>(
      system,
      `select version, deleted_at, deleted_by from secret_version where secret_id = $1 order by version`,
      [id],
    );
    expect(marks.map(({ version, deleted_by: by }) => [version, by])).toEqual([
      [1, `user:${ids[0]}`],
      [2, `user:${ids[1]}`],
    ]);
    const [one, two] = marks.map(({ deleted_at: at }) => at) as [number, number];
    expect(Math.abs(one - first)).toBeLessThan(MINUTE_MS);
    expect(Math.abs(two - one - 20 * DAY_MS)).toBeLessThan(MINUTE_MS);

    system.passTime(29 * DAY_MS);
    await sweep();
    expect(await storedVersions(system, 'marked', 's')).toEqual({ 1: true, 2: true });
    system.passTime(DAY_MS);
    await sweep();
    expect(await rowsOf(id)).toEqual([]);
    expect(await trail(system, 'marked', 'secret.purge')).toEqual(['secret.purge s 2 trash-retention']);
    alice = await system.as('alice');
  });

  test('after thirty days a sweep removes what is in the trash, and nothing else, once', async () => {
    const gone = await given('swept', 'one');
    await alice.putSecret('swept', 'renewed', 'one');
    await alice.putSecret('swept', 'restored', 'one');
    await alice.putSecret('swept', 'later', 'one');
    for (const name of ['s', 'renewed', 'restored']) await alice.delete(at('swept', name)).expect(204);
    await alice.putSecret('swept', 'renewed', 'two');
    await restore(at('swept', 'restored')).expect(200);
    const id = await idOf('swept', 's');
    system.passTime(DAY_MS);
    await system.as('alice');
    await alice.delete(at('swept', 'later')).expect(204);
    system.passTime(29 * DAY_MS - MINUTE_MS);
    await sweep();
    expect(await rowsOf(id)).toEqual(['secret', 'secret_version']);

    system.passTime(MINUTE_MS);
    await Promise.all([sweep(), sweep(), sweep()]);
    await sweep();
    await system.as('alice');
    expect(await rowsOf(id)).toEqual([]);
    await restore(gone).expect(404);
    expect(await storedVersions(system, 'swept', 'renewed')).toEqual({ 2: true });
    await restore(at('swept', 'renewed')).expect(404);
    expect(await alice.readSecret('swept', 'renewed')).toBe('two');
    expect(await namesIn(alice, 'swept')).toEqual(['renewed', 'restored']);
    expect(await namesIn(alice, 'swept', '?deleted=true')).toEqual(['later']);
    expect((await trail(system, 'swept', 'secret.purge')).toSorted()).toEqual([
      'secret.purge renewed 1 trash-retention',
      'secret.purge s 1 trash-retention',
    ]);
    const [entry] = await (await system.as('admin')).auditEntries({ action: 'secret.purge', vault: 'swept' });
    expect(entry!.event.actor).toEqual({ id: 'cardea', type: 'service' });
  });
});

test.each(profiles)('in profile %s, the setting decides how long the trash is kept', async (profile) => {
  await using system = await createTestSystem(profile, { CARDEA_TRASH_DAYS: '2' });
  const alice = await system.as('alice');
  await alice.createVault('payments');
  await alice.putSecret('payments', 's', 'v');
  await alice.delete(at('payments', 's')).expect(204);
  const stored: number[] = [];
  for (const days of [1.99, 0.01]) {
    system.passTime(days * DAY_MS);
    await system.runJob('secret.sweep', {});
    stored.push(Object.keys(await storedVersions(system, 'payments', 's')).length);
  }
  expect(stored).toEqual([1, 0]);
});
