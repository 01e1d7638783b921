import { recordsOf } from '../identity/identity.ts';
import { expect, test } from '@jest/globals';
import { inEachProfile } from '@cardea/testkit/use-system';
import { addMany, query } from '../secrets/ground.ts';
import { grant, ownersOf } from './granting.ts';

inEachProfile((system, { admin, alice, bob }) => {
  const idOf = async (vault: string) => (await admin.get(`/vaults/${vault}`).expect(200)).body.id as string;

  const versionsOf = async (vault: string, name: string) =>
    (
      (await alice.get(`/vaults/${vault}/secrets/${name}:versions`).expect(200)).body.items as { version: number }[]
    ).map(({ version }) => version);

  /** The number of rows of a vault in each table. */
  async function rowsOf(vaultId: string): Promise<Record<string, number>> {
    const ofSecrets = 'secret_id in (select id from secret where vault_id = $1)';
    const where: Record<string, string> = {
      vault: 'id = $1',
      vault_grant: 'vault_id = $1',
      dek: 'vault_id = $1',
      secret: 'vault_id = $1',
      secret_version: ofSecrets,
      secret_reference: ofSecrets,
      break_glass: ofSecrets,
      secret_word: 'vault_id = $1',
      secret_label: 'vault_id = $1',
      given_up_name: 'vault_id = $1',
      event: 'vault_id = $1',
      deleted_vault: 'id = $1',
    };
    const counts: Record<string, number> = {};
    for (const [table, condition] of Object.entries(where)) {
      const [row] = await query<{ n: number }>(system, `select count(*) as n from ${table} where ${condition}`, [
        vaultId,
      ]);
      if (row!.n > 0) counts[table] = row!.n;
    }
    return counts;
  }

  /** Rows of secrets as in a very large vault. `ended` have expired and are in the trash. */
  async function fill(vaultId: string, secrets: number, ended = false): Promise<void> {
    const db = system.openDatabase();
    await db.transaction(async (tx) => {
      for (let i = 0; i < secrets; i += 1) {
        const id = `${vaultId}-${i}`;
        await tx.query(
          `insert into secret (id, vault_id, name, current_version, metadata, expires_at, due_at, announce_at,
                               trashed_at, live, created_at, created_by, updated_at)
           values ($1, $2, $3, 2, '{}', $4, $4, $4, $4, 1, 0, 'user:x', 0)`,
          [id, vaultId, `name-${i}`, ended ? 1 : null],
        );
        for (const version of [1, 2]) {
          await tx.query(
            `insert into secret_version (secret_id, vault_id, version, ciphertext, dek_version, encoding, expires_at,
                                         created_at, created_by)
             values ($1, $2, $3, $4, 1, 'utf8', $5, 0, 'user:x')`,
            [id, vaultId, version, new Uint8Array(64), ended ? 1 : null],
          );
        }
      }
    });
    await db.close();
  }

  /** More of both than one page of the sweep removes. */
  async function fillWithNamesAndEvents(vaultId: string, count: number): Promise<void> {
    const db = system.openDatabase();
    await db.transaction(async (tx) => {
      for (let i = 0; i < count; i += 1) {
        await tx.query(`insert into given_up_name (vault_id, name, version) values ($1, $2, 1)`, [
          vaultId,
          `gone-${i}`,
        ]);
        const event = [`${vaultId}-${i}`, vaultId];
        await tx.query(
          `insert into event (id, vault_id, kind, payload, created_at) values ($1, $2, 'secret.expired', '{}', 0)`,
          event,
        );
      }
    });
    await db.close();
  }

  test('a vault keeps ten versions of a secret, or as many as it says', async () => {
    const made = await alice.post('/vaults', { name: 'ten' }).expect(201);
    expect(made.body.maxVersions).toBe(10);
    const two = await alice.post('/vaults', { name: 'two', description: 'of two', maxVersions: 2 }).expect(201);
    expect(two.body).toMatchObject({ name: 'two', description: 'of two', maxVersions: 2 });
    for (const value of ['a', 'b', 'c']) await alice.putSecret('two', 'kept', value);
    expect(await versionsOf('two', 'kept')).toEqual([3, 2]);
    for (const person of [alice, admin, await system.as('carla')]) {
      expect((await person.get('/vaults/two').expect(200)).body).toEqual(two.body);
      const { body } = await person.get('/vaults').expect(200);
      expect(body.items).toContainEqual(two.body);
    }
    for (const maxVersions of [0, 1001, 1.5, '2', null]) {
      await alice.post('/vaults', { name: 'bad', maxVersions }).expect(400);
      await alice.patch('/vaults/two', { maxVersions }).expect(400);
    }
    await alice.get('/vaults/bad').expect(404);
  });

  test.each(['sys', 'auth', 'cubbyhole', 'identity'])(
    'a vault named %s is refused, and the refusal is recorded',
    async (name) => {
      const answer = await alice.post('/vaults', { name }).expect(400);
      const message = 'must not be one of the reserved names sys, auth, cubbyhole, identity';
      expect(answer.body).toMatchObject({ code: 'invalid_request', errors: [{ path: 'body.name', message }] });
      expect(answer.body.detail).toContain(message);
      expect(await recordsOf(system, answer)).toMatchObject([
        { action: 'vault.create', decision: 'deny', reason: 'invalid_request', actor: { name: 'alice' } },
      ]);
      await admin.get(`/vaults/${name}`).expect(404);
      // A name that only begins like this is allowed.
      await alice.post('/vaults', { name: `${name}-1` }).expect(201);
    },
  );

  test('its owner changes only the given fields, and the change is recorded', async () => {
    const { body: made } = await alice.post('/vaults', { name: 'changed', description: 'before' }).expect(201);
    const change = (body: object) => alice.patch('/vaults/changed', body);
    expect((await change({ maxVersions: 3 }).expect(200)).body).toEqual({ ...made, maxVersions: 3 });
    const after = { ...made, description: '', maxVersions: 3 };
    expect((await change({ description: '' }).expect(200)).body).toEqual(after);
    expect((await change({}).expect(200)).body).toEqual(after);
    for (const body of [{ name: 'other' }, { id: made.id }, { description: null }, { description: 'x'.repeat(1025) }]) {
      await change(body).expect(400);
    }
    expect((await alice.get('/vaults/changed').expect(200)).body).toEqual(after);

    const entries = await admin.auditEntries({ action: 'vault.change', vault: 'changed', decision: 'allow' });
    expect(entries.map(({ event }) => event.changes ?? event.reason)).toEqual([
      'unchanged',
      { description: { from: 'before', to: '' } },
      { maxVersions: { from: 10, to: 3 } },
    ]);
    expect(entries[0]!.event).toMatchObject({
      actor: { name: 'alice' },
      rule: 'grant:owner',
      resource: { vault: 'changed', vaultId: made.id },
    });
  });

  test('a lower version limit takes effect at the next write of a secret', async () => {
    await alice.createVault('fewer');
    for (const value of ['a', 'b', 'c']) await alice.putSecret('fewer', 'kept', value);
    await alice.patch('/vaults/fewer', { maxVersions: 1 }).expect(200);
    expect(await versionsOf('fewer', 'kept')).toEqual([3, 2, 1]);
    await alice.putSecret('fewer', 'kept', 'd');
    expect(await versionsOf('fewer', 'kept')).toEqual([4]);
  });

  test('an empty vault is deleted; a vault with secrets, in the trash or not, only together with them', async () => {
    await alice.createVault('empty');
    await alice.delete('/vaults/empty').expect(204);
    await alice.get('/vaults/empty').expect(404);

    await alice.createVault('full');
    await alice.putSecret('full', 'one', 'value');
    await alice.putSecret('full', 'two', 'value');
    const refused = await alice.delete('/vaults/full');
    expect([refused.status, refused.body.detail]).toEqual([409, expect.stringContaining('2 secrets')]);
    for (const name of ['one', 'two']) await alice.delete(`/vaults/full/secrets/${name}`).expect(204);
    for (const search of ['', '?recursive=false']) await alice.delete(`/vaults/full${search}`).expect(409);
    for (const search of ['?recursive=yes', '?recursive', '?force=true']) {
      await alice.delete(`/vaults/full${search}`).expect(400);
    }
    await alice.request('post', '/vaults/full/secrets/one:restore').expect(200);
    expect(await alice.readSecret('full', 'one')).toBe('value');
    await alice.delete('/vaults/full?recursive=true').expect(204);
    await alice.get('/vaults/full').expect(404);

    const entries = await admin.auditEntries({ action: 'vault.delete', vault: 'full' });
    const happened = entries
      .filter(({ event }) => event.reason !== 'invalid_request')
      .map(({ event }) => [event.decision, event.rule, event.resource?.count]);
    expect(happened).toEqual([
      ['allow', 'grant:owner', 2],
      ['deny', 'not-empty', undefined],
      ['deny', 'not-empty', undefined],
      ['deny', 'not-empty', undefined],
    ]);
  });

  test('only an owner or an admin deletes a vault, whatever else a user was granted', async () => {
    await alice.createVault('guarded');
    const everything = { secrets: ['list', 'read', 'write', 'delete', 'destroy', 'manage'] };
    await grant(alice, 'guarded', 'user:bob', everything).expect(201);
    for (const search of ['', '?recursive=true']) {
      await bob.delete(`/vaults/guarded${search}`).expect(403);
      await (await system.as('carla')).delete(`/vaults/guarded${search}`).expect(403);
      await system.stranger.delete(`/vaults/guarded${search}`).expect(401);
    }
    await bob.patch('/vaults/guarded', { maxVersions: 1 }).expect(403);
    await bob.delete('/vaults/ten?recursive=true').expect(404);
    await admin.delete('/vaults/guarded').expect(204);
    await alice.get('/vaults/guarded').expect(404);
  });

  test('a deleted vault leaves nothing: grants and DEKs go at once, rows soon', async () => {
    await alice.createVault('doomed');
    await alice.createVault('spared');
    for (const vault of ['doomed', 'spared']) {
      await alice.put(`/vaults/${vault}/secrets/db/password`, { value: 'v', metadata: { team: 'core' } }).expect(201);
      const value = JSON.stringify({ $ref: { vault, name: 'db/password' } });
      const contentType = 'application/vnd.cardea.reference+json';
      await alice.put(`/vaults/${vault}/secrets/pointer`, { value, contentType }).expect(201);
      await alice.putSecret(vault, 'purged', 'v');
      await alice.request('post', `/vaults/${vault}/secrets/purged:purge`).expect(204);
      await (
        await system.as('carla')
      )
        .post(`/vaults/${vault}/secrets/db/password:breakGlass`, { reason: 'the yearly exercise' })
        .expect(200);
    }
    const [doomed, spared] = [await idOf('doomed'), await idOf('spared')];
    const before = await rowsOf(spared);
    expect(Object.keys(before)).toHaveLength(11);
    expect(await rowsOf(doomed)).toEqual(before);
    expect(system.vault.deks.get({ vaultId: doomed, dekVersion: 1 })).toBeDefined();

    await alice.delete('/vaults/doomed?recursive=true').expect(204);
    expect(await rowsOf(doomed)).not.toHaveProperty('dek');
    expect(await rowsOf(doomed)).not.toHaveProperty('vault_grant');
    expect(() => system.vault.deks.get({ vaultId: doomed, dekVersion: 1 })).toThrow('not in the cache');
    await expect(system.vault.deks.load({ vaultId: doomed, dekVersion: 1 })).rejects.toMatchObject({
      code: 'not_found',
    });
    expect(system.vault.deks.get({ vaultId: spared, dekVersion: 1 })).toBeDefined();

    await system.runJob('vault.sweep', {});
    expect(await rowsOf(doomed)).toEqual({});
    expect(await rowsOf(spared)).toEqual(before);
    expect(await alice.readSecret('spared', 'pointer')).toBe('v');
  });

  test('its name can be given to another vault, which shares nothing with it', async () => {
    await alice.createVault('again');
    await grant(alice, 'again', 'user:bob', { secrets: ['list', 'read'] }).expect(201);
    await alice.putSecret('again', 'old', 'of alice');
    await (
      await system.as('carla')
    )
      .post('/vaults/again/secrets/old:breakGlass', { reason: 'an old reason' })
      .expect(200);
    const old = await idOf('again');
    await alice.delete('/vaults/again?recursive=true').expect(204);
    await bob.get('/vaults/again').expect(404);

    await bob.createVault('again');
    expect(await idOf('again')).not.toBe(old);
    expect(await ownersOf(system, 'again')).toEqual(['user:bob']);
    await alice.get('/vaults/again').expect(404);
    await alice.get('/vaults/again/secrets/old').expect(404);
    for (const search of ['', '?deleted=true']) {
      expect((await bob.get(`/vaults/again/secrets${search}`).expect(200)).body.items).toEqual([]);
    }
    await bob.get('/vaults/again/secrets/old').expect(404);
    expect((await bob.get('/vaults/again/events').expect(200)).body.items).toEqual([]);
    await bob.putSecret('again', 'old', 'of bob');
    await system.runJob('vault.sweep', {});
    expect(await bob.readSecret('again', 'old')).toBe('of bob');
  });

  test('if two callers delete a vault at once, one does', async () => {
    await alice.createVault('contested');
    const answers = await Promise.all(Array.from({ length: 8 }, () => alice.delete('/vaults/contested')));
    const count = (status: number) => answers.filter((answer) => answer.status === status).length;
    expect([count(204), count(404)]).toEqual([1, 7]);
    const entries = await admin.auditEntries({ action: 'vault.delete', vault: 'contested', decision: 'allow' });
    expect(entries).toHaveLength(1);
  });

  test('a write during the deletion of its vault succeeds or is told that the vault is gone; nothing is left behind', async () => {
    await alice.createVault('busy');
    await alice.putSecret('busy', 'first', 'value');
    const id = await idOf('busy');
    const writeOn = async (writer: number): Promise<number> => {
      for (let i = 0; ; i += 1) {
        const { status } = await alice.put(`/vaults/busy/secrets/w${writer}/s${i}`, { value: 'value' });
        if (status !== 201) return status;
      }
    };
    const writers = Array.from({ length: 12 }, (_, writer) => writeOn(writer));
    await alice.putSecret('busy', 'second', 'value');
    await alice.delete('/vaults/busy?recursive=true').expect(204);
    expect(await Promise.all(writers)).toEqual(writers.map(() => 404));
    await system.runJob('vault.sweep', {});
    expect(await rowsOf(id)).toEqual({});
  });

  test('beyond a thousand secrets the answer says only that, and the record has no count', async () => {
    await alice.createVault('large');
    await addMany(system, { vault: 'large', prefix: 's', count: 1_000 });
    expect((await alice.delete('/vaults/large').expect(409)).body.detail).toMatch(/^the vault holds 1000 secrets,/);
    await alice.putSecret('large', 'more', 'v');
    const refused = await alice.delete('/vaults/large').expect(409);
    expect(refused.body.detail).toMatch(/^the vault holds more than 1000 secrets,/);
    await alice.delete('/vaults/large?recursive=true').expect(204);
    const [entry] = await admin.auditEntries({ action: 'vault.delete', vault: 'large', decision: 'allow' });
    expect(Object.keys(entry!.event.resource!)).toEqual(['vault', 'vaultId']);
  });

  test('the rest of a deleted vault with many secrets is removed in pages, and no secret of it expires for anybody', async () => {
    await alice.createVault('many');
    const id = await idOf('many');
    await fill(id, 450, true);
    await fillWithNamesAndEvents(id, 2_500);
    await alice.delete('/vaults/many?recursive=true').expect(204);
    await system.runJob('secret.sweep', {});
    await system.runJob('vault.sweep', {});
    expect(await rowsOf(id)).toEqual({});
    const entries = await admin.auditEntries({ vault: 'many' });
    expect(entries.map(({ event }) => event.action)).toEqual(['vault.delete', 'vault.read', 'vault.create']);
  });
});
