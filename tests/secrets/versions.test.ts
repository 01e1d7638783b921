import { inEachProfile } from '@cardea/testkit/use-system';
import { Person } from '@cardea/testkit/person';
import type { TestSystem } from '@cardea/testkit/system';
import { describe, expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { at, contents, query, storedVersions, trail } from './ground.ts';

type Listed = { version: number; state: string } & Record<string, unknown>;

inEachProfile((system, { admin, alice }) => {
  /** Makes a vault with a secret `s` that has these values. Returns its path. */
  async function given(vault: string, ...values: string[]): Promise<string> {
    await alice.createVault(vault);
    for (const value of values) await alice.putSecret(vault, 's', value);
    return at(vault, 's');
  }

  async function versionsOf(path: string, by: Person = alice): Promise<Listed[]> {
    return (await by.get(`${path}:versions`).expect(200)).body.items as Listed[];
  }

  const statuses = (path: string, versions: number[]) =>
    Promise.all(versions.map(async (version) => (await alice.get(`${path}?version=${version}`)).status));

  describe('destroying versions', () => {
    test('removes their values from the database, and keeps the others', async () => {
      const path = await given('destroyed', 'one', 'two', 'three', 'four');
      const answer = await alice.post(`${path}:destroy`, { versions: [3, 1, 3] }).expect(200);
      expect(answer.body).toEqual({ name: 's', destroyed: [3, 1] });
      expect(await storedVersions(system, 'destroyed', 's')).toEqual({ 1: false, 2: true, 3: false, 4: true });
      expect(await statuses(path, [1, 2, 3, 4])).toEqual([410, 200, 410, 200]);
      expect((await recordsOf(system, answer)).map(({ resource }) => resource!.version)).toEqual([3, 1]);
      const by = { type: 'user', name: 'alice' };
      expect(await versionsOf(path)).toMatchObject([
        { version: 4, state: 'current' },
        { version: 3, state: 'destroyed', destroyedBy: by, destroyedAt: expect.any(String) },
        { version: 2, state: 'superseded' },
        { version: 1, state: 'destroyed', destroyedBy: by },
      ]);
    });

    test('happens once: the next time changes nothing, and the answer says so', async () => {
      const path = await given('twice', 'one', 'two');
      await alice.post(`${path}:destroy`, { versions: [1] }).expect(200);
      const [, { destroyedAt }] = (await versionsOf(path)) as [Listed, Listed];
      system.passTime(1_000);
      const again = await alice.post(`${path}:destroy`, { versions: [1] }).expect(200);
      expect(again.body.destroyed).toEqual([]);
      expect((await alice.post(`${path}:destroy`, { versions: [1, 2] }).expect(200)).body.destroyed).toEqual([2]);
      expect((await versionsOf(path)).map((listed) => listed['destroyedAt'] === destroyedAt)).toEqual([false, true]);
      expect(await trail(system, 'twice', 'secret.destroy')).toEqual([
        'secret.destroy s 1 grant:owner',
        'secret.destroy s grant:owner unchanged',
        'secret.destroy s 2 grant:owner',
      ]);
      // Even the newest one. Then nothing can be read until there is another.
      await alice.get(path).expect(410);
      expect((await alice.put(path, { value: 'two' }).expect(200)).body).toMatchObject({ version: 3, changed: true });
    });

    test('destroys all named versions or none', async () => {
      const path = await given('unknown', 'one', 'two');
      const before = await contents(system);
      for (const versions of [[1, 3], [3], [99, 1]]) await alice.post(`${path}:destroy`, { versions }).expect(404);
      for (const versions of [[], [0], [1, -1], [1.5], ['1'], 1])
        await alice.post(`${path}:destroy`, { versions }).expect(400);
      await alice.post(`${at('unknown', 'nothing')}:destroy`, { versions: [1] }).expect(404);
      expect(await contents(system)).toEqual(before);
      expect((await trail(system, 'unknown', 'secret.destroy'))[0]).toBe('secret.destroy! s no-such-version not_found');
    });
  });

  describe('a rollback', () => {
    test('makes a new version of an old value, with its content type', async () => {
      await alice.createVault('back');
      const path = at('back', 's');
      const old = { value: Buffer.from([0, 255, 3]).toString('base64'), encoding: 'base64', contentType: 'image/png' };
      await alice.put(path, { ...old, metadata: { a: 'b' }, ttlSeconds: 600 }).expect(201);
      await alice.put(path, { value: 'two' }).expect(200);
      const answer = await alice.post(`${path}:rollback`, { version: 1 }).expect(200);
      expect([answer.body, answer.headers['etag']]).toMatchObject([{ name: 's', version: 3, changed: true }, '"3"']);
      const { body } = await alice.get(path).expect(200);
      expect(body).toMatchObject({ ...old, version: 3, metadata: { a: 'b' } });
      // A value with an expiry does not outlive it by being written again.
      expect(body.expiresAt).toBe((await alice.get(`${path}?version=1`).expect(200)).body.expiresAt);
      expect(await recordsOf(system, answer)).toMatchObject([
        {
          action: 'secret.rollback',
          reason: 'to the value of version 1',
          resource: { version: 3 },
          ciphertextSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        },
      ]);
      const same = await alice.post(`${path}:rollback`, { version: 3 }).expect(200);
      expect(same.body).toMatchObject({ version: 3, changed: false });
      expect((await alice.get(`${path}?version=1`).expect(200)).body).toMatchObject(old);
    });

    test('destroys the oldest version at the limit, like any new version', async () => {
      await alice.post('/vaults', { name: 'room', maxVersions: 2 }).expect(201);
      for (const value of ['one', 'two']) await alice.putSecret('room', 's', value);
      await alice.post(`${at('room', 's')}:rollback`, { version: 1 }).expect(200);
      expect(await storedVersions(system, 'room', 's')).toEqual({ 2: true, 3: true });
      expect(await alice.readSecret('room', 's')).toBe('one');
      expect((await trail(system, 'room')).slice(2, 4)).toEqual([
        'secret.rollback s 3 grant:owner to the value of version 1',
        'secret.destroy s 1 max-versions',
      ]);
    });

    test('to a version that does not exist is refused, and changes nothing', async () => {
      const path = await given('nowhere', 'one', 'two');
      await alice.put(path, { value: 'three', ttlSeconds: 5 }).expect(200);
      await alice.putSecret('nowhere', 's', 'four');
      await alice.post(`${path}:destroy`, { versions: [1] }).expect(200);
      await alice.putSecret('nowhere', 'trashed', 'one');
      await alice.delete(at('nowhere', 'trashed')).expect(204);
      system.passTime(5_000);
      const before = await contents(system);
      for (const [version, status] of [
        [1, 410],
        [3, 410],
        [5, 404],
        [0, 400],
      ] as const) {
        expect((await alice.post(`${path}:rollback`, { version })).status).toBe(status);
      }
      await alice.post(`${at('nowhere', 'trashed')}:rollback`, { version: 1 }).expect(404);
      await alice.post(`${at('nowhere', 'nothing')}:rollback`, { version: 1 }).expect(404);
      expect(await contents(system)).toEqual(before);
    });
  });

  describe('the list of versions', () => {
    test('names the writer and the last reader by name and id, and by id alone once they are deleted', async () => {
      const writer = await newUser(system, 'writer');
      const reader = await newApplication(system, 'reader');
      await given('who', 'one');
      const path = at('who', 's');
      await grant(alice, 'who', 'user:writer', { secrets: ['write'] }).expect(201);
      await grant(alice, 'who', 'application:reader', { secrets: ['read'] }).expect(201);
      await writer.putSecret('who', 's', 'two');
      const ids = {
        alice: (await alice.get('/auth/me').expect(200)).body.id as string,
        writer: (await writer.get('/auth/me').expect(200)).body.id as string,
        reader: (await reader.get('/auth/me').expect(200)).body.id as string,
      };
      expect((await versionsOf(path)).map((listed) => [listed['createdBy'], listed['lastReadBy']])).toEqual([
        [{ type: 'user', id: ids.writer, name: 'writer' }, undefined],
        [{ type: 'user', id: ids.alice, name: 'alice' }, undefined],
      ]);

      await alice.get(path).expect(200);
      system.passTime(1_000);
      const read = await reader.get(path).expect(200);
      await reader.get(path).set('If-None-Match', '"2"').expect(304);
      const [record] = await recordsOf(system, read);
      const [second, first] = (await versionsOf(path)) as [Listed, Listed];
      expect(second['lastReadBy']).toEqual({ type: 'application', id: ids.reader, name: 'reader' });
      const readAt = Date.parse(second['lastReadAt'] as string);
      expect(Math.abs(readAt - Date.parse(record!.ts))).toBeLessThan(1_000);
      expect(first).not.toHaveProperty('lastReadAt');

      await admin.delete('/users/writer').expect(204);
      await admin.delete('/applications/reader').expect(204);
      expect((await versionsOf(path))[0]).toMatchObject({ createdBy: { type: 'user', id: ids.writer } });
      const [listed] = await versionsOf(path);
      expect([listed!['createdBy'], listed!['lastReadBy']]).toEqual([
        { type: 'user', id: ids.writer },
        { type: 'application', id: ids.reader },
      ]);
      expect(JSON.stringify(listed)).not.toMatch(/value|ciphertext/);
    });

    test('comes in pages, the newest first, each recorded with its number of items', async () => {
      const path = await given('paged', 'one', 'two', 'three', 'four', 'five');
      const seen: number[][] = [];
      for (let cursor = ''; ;) {
        const { body } = await alice.get(`${path}:versions?limit=2${cursor}`).expect(200);
        seen.push((body.items as Listed[]).map(({ version }) => version));
        if (body.nextCursor === undefined) break;
        cursor = `&cursor=${body.nextCursor as string}`;
      }
      expect(seen).toEqual([[5, 4], [3, 2], [1]]);
      for (const cursor of ['x', '-1', '1e3', '3']) await alice.get(`${path}:versions?cursor=${cursor}`).expect(400);
      const entries = await admin.auditEntries({ action: 'secret.versions', vault: 'paged', decision: 'allow' });
      expect(entries.map(({ event }) => event.resource?.count).toReversed()).toEqual([2, 2, 1]);
    });

    test('distinguishes the states', async () => {
      const path = await given('states', 'one', 'two');
      await alice.delete(path).expect(204);
      await alice.putSecret('states', 's', 'three');
      await alice.put(path, { value: 'four', contentType: 'text/plain', ttlSeconds: 5 }).expect(200);
      await alice.put(path, { value: 'Zml2ZQ==', encoding: 'base64' }).expect(200);
      await alice.putSecret('states', 's', 'six');
      await alice.post(`${path}:destroy`, { versions: [5] }).expect(200);
      system.passTime(5_000);
      expect((await versionsOf(path)).map(({ version, state }) => [version, state])).toEqual([
        [6, 'current'],
        [5, 'destroyed'],
        [4, 'expired'],
        [3, 'superseded'],
        [2, 'deleted'],
        [1, 'deleted'],
      ]);
      expect((await versionsOf(path))[2]).toMatchObject({ contentType: 'text/plain', encoding: 'utf8' });
    });
  });

  test('the last reader is shown while it cannot be stored, and is stored when it can', async () => {
    const path = await given('unwritten', 'one', 'two');
    await system.vault.lastReads.flush();
    const [{ id: secretId } = { id: '' }] = await query<{ id: string }>(
      system,
      `select id from secret where vault_id = (select id from vault where name = 'unwritten')`,
    );
    const allow = await refuseRead(system, { secretId, version: 2 });
    await alice.get(`${path}?version=1`).expect(200);
    // So that the second is on another page than the first.
    const at = system.now().getTime();
    for (let i = 1; i < 100; i += 1)
      system.vault.lastReads.note({ secretId: `none-${i}`, version: 1, at, by: 'user:none' });
    await alice.get(path).expect(200);
    const stored = () =>
      query<{ version: number }>(
        system,
        `select version from secret_version where last_read_at is not null and secret_id = $1 order by version`,
        [secretId],
      );
    const readBy = async () => (await versionsOf(path)).map((listed) => listed['lastReadBy']);
    const shown = expect.objectContaining({ name: 'alice' });
    // api-service stores them by itself too, every few seconds.
    expect([await readBy(), await stored()]).toEqual([[shown, shown], expect.not.arrayContaining([{ version: 2 }])]);
    await expect(system.vault.lastReads.flush()).rejects.toMatchObject({ message: expect.any(String) });
    expect([await readBy(), await stored()]).toEqual([[shown, shown], [{ version: 1 }]]);
    await allow();
    await system.vault.lastReads.flush();
    expect([await readBy(), await stored()]).toEqual([
      [shown, shown],
      [{ version: 1 }, { version: 2 }],
    ]);
  });

  test('the last reader survives a restart', async () => {
    const path = await given('lasting', 'one');
    await alice.get(path).expect(200);
    await system.stopService('api');
    await system.startService('api');
    for (const who of ['admin', 'alice'] as const) await system.as(who);
    const after = new Person(system.url, alice.token);
    expect((await versionsOf(path, after))[0]).toMatchObject({ lastReadBy: { name: 'alice' } });
  });
});

/** Makes the database refuse to store the reader of a version. The result of the call undoes it. */
async function refuseRead(
  system: TestSystem,
  { secretId, version }: { secretId: string; version: number },
): Promise<() => Promise<void>> {
  const row = `secret_id = '${secretId}' and version = ${version}`;
  const isPostgres = system.vault.db.engine === 'postgres';
  const [refuse, allow] = isPostgres
    ? [
        `alter table secret_version add constraint refused check (not (${row} and last_read_at is not null)) not valid`,
        `alter table secret_version drop constraint refused`,
      ]
    : [
        `create trigger refused before update of last_read_at on secret_version
           when new.secret_id = '${secretId}' and new.version = ${version}
           begin select raise(abort, 'refused'); end`,
        `drop trigger refused`,
      ];
  await query(system, refuse);
  return async () => {
    await query(system, allow);
  };
}
