import { inEachProfile } from '@cardea/testkit/use-system';
import type { Person } from '@cardea/testkit/person';
import { createTestSystem, profiles } from '@cardea/testkit/system';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { getReadable } from '@cardea/vault/secrets/readable';
import { describe, expect, test } from '@jest/globals';
import { at, contents, eventsOf, namesIn, query, storedVersions, trail } from './ground.ts';

inEachProfile((system) => {
  /** Signs in again after days have passed. */
  const alice = (): Promise<Person> => system.as('alice');

  /** Makes a vault, with a secret in it if a body is given. Returns the path of the secret. */
  async function given(vault: string, ...bodies: object[]): Promise<string> {
    const owner = await alice();
    await owner.createVault(vault);
    for (const body of bodies) expect((await owner.put(at(vault, 's'), body)).status).toBeLessThan(202);
    return at(vault, 's');
  }

  const inFuture = (ms: number) => new Date(system.now().getTime() + ms).toISOString();
  const sweep = () => system.runJob('secret.sweep', {});

  /** The statuses of reads of the newest version, and then of each named version. */
  async function statuses(path: string, ...versions: number[]): Promise<number[]> {
    const owner = await alice();
    const paths = [path, ...versions.map((version) => `${path}?version=${version}`)];
    return Promise.all(paths.map(async (one) => (await owner.get(one)).status));
  }

  describe('an expiry', () => {
    test('is a duration or a time, not both, and not in the past', async () => {
      const path = await given('ends');
      const owner = await alice();
      const past = inFuture(-1_000);
      for (const body of [
        { ttlSeconds: 60, expiresAt: inFuture(MINUTE_MS) },
        { expiresAt: past },
        { ttlSeconds: 0 },
        { ttlSeconds: -1 },
        { ttlSeconds: 1.5 },
        { expiresAt: 'tomorrow' },
        { expiresAt: '2099-02-30T00:00:00Z' },
      ]) {
        await owner.put(path, { value: 'v', ...body }).expect(400);
        await owner.post(`${path}:generate`, body).expect(400);
      }
      await owner.put(path, { value: 'v', expiresAt: null }).expect(400);
      expect(await namesIn(owner, 'ends')).toEqual([]);
      await owner.put(path, { value: 'v' }).expect(201);
      for (const body of [
        { ttlSeconds: 60, expiresAt: inFuture(MINUTE_MS) },
        { expiresAt: past },
        { version: 1, expiresAt: past },
      ]) {
        await owner.patch(path, body).expect(400);
      }
      expect((await owner.get(path).expect(200)).body).not.toHaveProperty('expiresAt');
    });

    test('is shown with the secret, as the sooner of two', async () => {
      const owner = await alice();
      const [sooner, later] = [inFuture(MINUTE_MS), inFuture(2 * MINUTE_MS)];
      const path = await given('shown', { value: 'v', expiresAt: later });
      const shown = async () => {
        const { body } = await owner.get('/vaults/shown/secrets').expect(200);
        const { body: versions } = await owner.get(`${path}:versions`).expect(200);
        const { body: read } = await owner.get(path).expect(200);
        return [body.items[0].expiresAt, versions.items[0].expiresAt, read.expiresAt];
      };
      expect(await shown()).toEqual([later, later, later]);
      expect((await owner.patch(path, { expiresAt: sooner }).expect(200)).body.expiresAt).toBe(sooner);
      expect(await shown()).toEqual([sooner, sooner, sooner]);
      expect((await owner.put(path, { value: 'w', expiresAt: later }).expect(200)).body.expiresAt).toBe(sooner);
      // Without a version, a patch sets the expiry that the secret shows, even if a write has set it before.
      const longer = inFuture(10 * MINUTE_MS);
      expect((await owner.patch(path, { expiresAt: longer }).expect(200)).body.expiresAt).toBe(longer);
      expect(await shown()).toEqual([longer, longer, longer]);
      expect((await owner.patch(path, { version: 2, expiresAt: later }).expect(200)).body.expiresAt).toBe(later);
      expect((await owner.patch(path, { expiresAt: null }).expect(200)).body).not.toHaveProperty('expiresAt');
      expect(await shown()).toEqual([undefined, undefined, undefined]);
    });

    test('is set by a patch only with the right to delete: the right to write alone takes nothing away', async () => {
      const owner = await alice();
      const path = await given('kept', { value: 'v' });
      await owner.put('/vaults/kept/grants/user:bob', { secrets: ['write'] }).expect(201);
      const writer = await system.as('bob');
      for (const patch of [{ ttlSeconds: 1 }, { version: 1, ttlSeconds: 1 }, { maxVersions: 1 }]) {
        await writer.patch(path, patch).expect(403);
      }
      await writer.patch(path, { metadata: { a: 'b' } }).expect(200);
      await writer.patch(path, { expiresAt: null, maxVersions: null }).expect(200);
      expect((await owner.get(path).expect(200)).body).not.toHaveProperty('expiresAt');
    });

    test('of a version takes effect at that very millisecond, without a sweep, and is 410 from then on', async () => {
      const owner = await alice();
      const path = await given('exact', { value: 'one' }, { value: 'two', expiresAt: inFuture(10_000) });
      const [row] = await query<{ vault_id: string; expires_at: number }>(
        system,
        `select s.vault_id, e.expires_at
           from secret_version e
           join secret s on s.id = e.secret_id
          where e.expires_at is not null
            and s.vault_id = (select id from vault where name = 'exact')`,
      );
      const { vault_id: vaultId, expires_at: end } = row!;
      const readAt = (ms: number) =>
        getReadable({ now: () => new Date(ms) }, system.vault.db, { vaultId, name: 's' }).then(
          ({ version }) => version,
          ({ code }) => code as string,
        );
      expect(await Promise.all([end - 1, end, end + 1].map(readAt))).toEqual([2, 'gone', 'gone']);

      system.passTime(end - system.now().getTime() - 5_000);
      expect((await owner.get(path).expect(200)).body).toMatchObject({ value: 'two', version: 2 });
      system.passTime(end - system.now().getTime());
      const gone = await owner.get(path).expect(410);
      expect([gone.body.code, gone.text.includes('two')]).toEqual(['gone', false]);
      // A version that has not expired is still read by its number.
      expect(await statuses(path, 1, 2)).toEqual([410, 200, 410]);
      expect(await storedVersions(system, 'exact', 's')).toEqual({ 1: true, 2: true });
      expect((await trail(system, 'exact', 'secret.read')).slice(0, 2)).toEqual([
        'secret.read s 2 grant:owner',
        'secret.read! s expired gone',
      ]);
      expect((await owner.post(`${path}:rollback`, { version: 2 })).status).toBe(410);
    });

    test('of the secret expires all its versions', async () => {
      const owner = await alice();
      const path = await given('whole', { value: 'one' }, { value: 'two' });
      await owner.patch(path, { ttlSeconds: 30 }).expect(200);
      await owner.patch(path, { version: 1, ttlSeconds: 10 }).expect(200);
      system.passTime(10_000);
      expect(await statuses(path, 1, 2)).toEqual([200, 410, 200]);
      system.passTime(20_000);
      expect(await statuses(path, 1, 2)).toEqual([410, 410, 410]);
      const { body } = await owner.get(`${path}:versions`).expect(200);
      expect(body.items).toMatchObject([
        { version: 2, state: 'expired' },
        { version: 1, state: 'expired' },
      ]);
    });

    test('that is removed or moved does not take effect', async () => {
      const owner = await alice();
      const path = await given('moved', { value: 'one', ttlSeconds: 10 }, { value: 'two', ttlSeconds: 10 });
      await owner.patch(path, { version: 1, expiresAt: null }).expect(200);
      await owner.patch(path, { version: 2, ttlSeconds: 30 }).expect(200);
      system.passTime(10_000);
      expect(await statuses(path, 1, 2)).toEqual([200, 200, 200]);
      system.passTime(20_000);
      expect(await statuses(path, 1, 2)).toEqual([410, 200, 410]);
    });

    describe.each([false, true])('that has passed (after a sweep: %j)', (swept) => {
      const name = (vault: string) => `${vault}-${swept ? 'swept' : 'due'}`;

      test('is over with the next value, and expired values stay expired', async () => {
        const owner = await alice();
        const path = await given(name('anew'), { value: 'one' }, { value: 'two' });
        await owner.patch(path, { ttlSeconds: 10 }).expect(200);
        system.passTime(10_000);
        if (swept) await sweep();
        // The identical value is a new version, because the old one no longer exists.
        const put = await owner.put(path, { value: 'two' }).expect(200);
        expect(put.body).toMatchObject({ version: 3, changed: true });
        expect(put.body).not.toHaveProperty('expiresAt');
        expect(await statuses(path, 1, 2, 3)).toEqual([200, 410, 410, 200]);
        await sweep();
        expect(await storedVersions(system, name('anew'), 's')).toEqual({ 1: false, 2: false, 3: true });
      });

      test.each([
        ['is not moved', 'kept', { expiresAt: null }],
        ['is not moved by a new one', 'renewed', { ttlSeconds: 1_000 }],
      ])('%s, for the whole secret', async (_what, vault, patch) => {
        const owner = await alice();
        const path = await given(name(vault), { value: 'one' }, { value: 'two' });
        await owner.patch(path, { ttlSeconds: 10 }).expect(200);
        system.passTime(10_000);
        if (swept) await sweep();
        await owner.patch(path, patch).expect(200);
        expect(await statuses(path, 1, 2)).toEqual([410, 410, 410]);
        await sweep();
        expect(await storedVersions(system, name(vault), 's')).toEqual({ 1: false, 2: false });
      });

      test('is not moved, for one version', async () => {
        const owner = await alice();
        const path = await given(name('version'), { value: 'one', ttlSeconds: 10 });
        system.passTime(10_000);
        if (swept) await sweep();
        await owner.patch(path, { version: 1, expiresAt: null }).expect(410);
        await owner.patch(path, { version: 1, ttlSeconds: 60 }).expect(410);
        await owner.patch(path, { metadata: { still: 'here' } }).expect(200);
        expect(await statuses(path, 1)).toEqual([410, 410]);
      });

      test('that passed in the trash does not apply to a value written since', async () => {
        const owner = await alice();
        const path = await given(name('trash'), { value: 'one' });
        await owner.patch(path, { ttlSeconds: 10 }).expect(200);
        await owner.delete(path).expect(204);
        system.passTime(10_000);
        if (swept) await sweep();
        await owner.put(path, { value: 'two' }).expect(201);
        await owner.request('post', `${path}:restore`).expect(200);
        expect(await statuses(path, 1, 2)).toEqual([200, 410, 200]);
      });
    });
  });

  describe('a sweep', () => {
    test('destroys expired values once, with a record by Cardea and an event, however many sweeps run', async () => {
      const owner = await alice();
      const path = await given(
        'swept',
        { value: 'one' },
        { value: 'two', ttlSeconds: 10 },
        { value: 'three', ttlSeconds: 10 },
      );
      const before = await contents(system);
      await sweep();
      expect(await contents(system)).toEqual(before);
      system.passTime(10_000);
      await Promise.all([sweep(), sweep(), sweep()]);
      await sweep();
      expect(await storedVersions(system, 'swept', 's')).toEqual({ 1: true, 2: false, 3: false });
      expect((await trail(system, 'swept', 'secret.expire')).toSorted()).toEqual([
        'secret.expire s 2 expiry',
        'secret.expire s 3 expiry',
      ]);
      const [entry] = await (await system.as('admin')).auditEntries({ action: 'secret.expire', vault: 'swept' });
      expect(entry!.event).toMatchObject({ actor: { id: 'cardea', type: 'service' }, decision: 'allow' });
      // Only the newest value has an expiry to announce.
      const { body } = await owner.get(`${path}:versions`).expect(200);
      const { expiresAt } = body.items[0] as { expiresAt: string };
      expect(await eventsOf(system, 'swept')).toEqual([
        { kind: 'secret.expired', payload: { name: 's', version: 3, expiresAt } },
      ]);
      expect(body.items).toMatchObject([
        { version: 3, state: 'expired', destroyedBy: { type: 'service', id: 'cardea' } },
        { version: 2, state: 'expired' },
        { version: 1, state: 'superseded' },
      ]);
      expect(await statuses(path, 1, 2, 3)).toEqual([410, 200, 410, 410]);
    });

    test('expires a whole secret, with its versions in the trash, which get no event', async () => {
      const owner = await alice();
      const path = await given('ended', { value: 'one' });
      await owner.patch(path, { ttlSeconds: 10 }).expect(200);
      await owner.delete(path).expect(204);
      const other = at('ended', 'other');
      for (const value of ['one', 'two']) await owner.put(other, { value });
      await owner.patch(other, { ttlSeconds: 10 }).expect(200);
      system.passTime(10_000);
      await sweep();
      expect(await storedVersions(system, 'ended', 's')).toEqual({ 1: false });
      expect(await storedVersions(system, 'ended', 'other')).toEqual({ 1: false, 2: false });
      expect(await trail(system, 'ended', 'secret.expire')).toHaveLength(3);
      expect((await eventsOf(system, 'ended')).map(({ payload }) => payload)).toMatchObject([
        { name: 'other', version: 2 },
      ]);
    });

    test('processes more than one page', async () => {
      await given('pages', { value: 'v', ttlSeconds: 10 });
      await query(
        system,
        `with recursive place (i) as (select 2 union all select i + 1 from place where i < 120)
         insert into secret_version (secret_id, vault_id, version, ciphertext, dek_version, encoding, expires_at,
                                     created_at, created_by)
         select e.secret_id, e.vault_id, i, e.ciphertext, e.dek_version, e.encoding, e.expires_at, e.created_at,
                e.created_by
           from place
           join secret s on s.vault_id = (select id from vault where name = 'pages')
           join secret_version e on e.secret_id = s.id and e.version = 1`,
      );
      system.passTime(10_000);
      await sweep();
      const stored = await storedVersions(system, 'pages', 's');
      expect([Object.keys(stored).length, Object.values(stored).includes(true)]).toEqual([120, false]);
      expect(await trail(system, 'pages', 'secret.expire')).toHaveLength(120);
    });
  });

  // The last tests here, because days pass.
  describe('an announcement', () => {
    test('comes 30, 7 and 1 days before an expiry, once each, and is recorded', async () => {
      await given('announced', { value: 'one' }, { value: 'two', ttlSeconds: (40 * DAY_MS) / 1_000 });
      const seen: number[] = [];
      for (const days of [9, 1.001, 1, 21.99, 0.01, 6, 0.5]) {
        system.passTime(days * DAY_MS);
        await Promise.all([sweep(), sweep()]);
        await sweep();
        seen.push((await eventsOf(system, 'announced')).length);
      }
      expect(seen).toEqual([0, 1, 1, 1, 2, 3, 3]);
      system.passTime(DAY_MS / 2);
      await sweep();
      const { body } = await (await alice()).get(`${at('announced', 's')}:versions`).expect(200);
      const payload = { name: 's', version: 2, expiresAt: body.items[0].expiresAt as string };
      expect(await eventsOf(system, 'announced')).toEqual([
        ...Array.from({ length: 3 }, () => ({ kind: 'secret.expiring', payload })),
        { kind: 'secret.expired', payload },
      ]);
      expect((await trail(system, 'announced')).filter((line) => /expir/.test(line))).toEqual([
        ...Array.from({ length: 3 }, () => 'secret.expiring s 2 expiry'),
        'secret.expire s 2 expiry',
      ]);
    });

    test('that was missed comes once, and a removed or moved expiry has none', async () => {
      const owner = await alice();
      await owner.createVault('missed');
      const ttlSeconds = (20 * DAY_MS) / 1_000;
      for (const name of ['missed', 'trashed', 'restored', 'destroyed', 'patched', 'moved', 'taken', 'replaced']) {
        await owner.put(at('missed', name), { value: 'v', ttlSeconds }).expect(201);
      }
      for (const name of ['trashed', 'restored']) await owner.delete(at('missed', name)).expect(204);
      for (const name of ['destroyed', 'patched']) {
        await owner.post(`${at('missed', name)}:destroy`, { versions: [1] }).expect(200);
      }
      await owner.patch(at('missed', 'patched'), { metadata: { a: 'b' } }).expect(200);
      await owner.patch(at('missed', 'moved'), { version: 1, ttlSeconds: ttlSeconds * 4 }).expect(200);
      await owner.patch(at('missed', 'taken'), { version: 1, expiresAt: null }).expect(200);
      await owner.put(at('missed', 'replaced'), { value: 'w' }).expect(200);
      system.passTime(12 * DAY_MS);
      await (await alice()).request('post', `${at('missed', 'restored')}:restore`).expect(200);
      await sweep();
      expect(await eventsOf(system, 'missed')).toEqual([]);
      system.passTime(7.5 * DAY_MS);
      await sweep();
      await sweep();
      const told = (await eventsOf(system, 'missed')).map(({ payload }) => (payload as { name: string }).name);
      expect(told.toSorted()).toEqual(['missed', 'restored']);
    });
  });
});

test.each(profiles)('in profile %s, the setting decides how long before an expiry it is announced', async (profile) => {
  await using system = await createTestSystem(profile, { CARDEA_EXPIRY_LEAD_DAYS: '3' });
  const alice = await system.as('alice');
  await alice.createVault('payments');
  await alice.put(at('payments', 's'), { value: 'v', ttlSeconds: (7 * DAY_MS) / 1_000 }).expect(201);
  const seen: number[] = [];
  for (const days of [3.9, 0.2, 2.8]) {
    system.passTime(days * DAY_MS);
    await system.runJob('secret.sweep', {});
    seen.push((await eventsOf(system, 'payments')).length);
  }
  expect(seen).toEqual([0, 1, 1]);
});
