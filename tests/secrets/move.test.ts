import { describe, expect, test } from '@jest/globals';
import { sha256Hex } from '@cardea/crypto/ids';
import { inEachProfile } from '@cardea/testkit/use-system';
import { DAY_MS } from '@cardea/contracts/durations';
import { grant, newUser } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { addMany, at, contents, namesIn, query, reference, untilAnswers } from './ground.ts';

type Listed = { version: number; state: string; createdAt: string };

const CANARY = 'canary-5ce2d8';
const all = (vault: string) => `/vaults/${vault}/secrets:move`;
/** The path of a secret after this many moves. */
const place = (moves: number) => ({ vault: `storm-${moves % 2}`, name: `at/${moves}` });
const MOVES = 12;
const one = (vault: string, name: string) => `${at(vault, name)}:move`;

inEachProfile((system, { admin, alice }) => {
  /** The versions of a secret as stored on disk. */
  function rowsOf(vault: string, name: string) {
    return query<{ secret_id: string; version: number; ciphertext: Uint8Array | null }>(
      system,
      `select e.*
         from secret_version e
         join secret s on s.id = e.secret_id
         join vault v on v.id = s.vault_id
        where v.name = $1
          and s.name = $2
        order by e.version`,
      [vault, name],
    );
  }

  async function versionsOf(vault: string, name: string): Promise<Listed[]> {
    return (await alice.get(`${at(vault, name)}:versions`).expect(200)).body.items as Listed[];
  }

  const vaultId = async (vault: string) => (await alice.get(`/vaults/${vault}`).expect(200)).body.id as string;

  describe('a moved secret', () => {
    test('keeps its versions and their data, has new ciphertexts, and is found only under its new name', async () => {
      for (const vault of ['from', 'to']) await alice.createVault(vault);
      const path = at('from', 'db/password');
      await alice.put(path, { value: 'in the trash' }).expect(201);
      await alice.delete(path).expect(204);
      await alice.put(path, { value: CANARY, metadata: { team: 'a' }, maxVersions: 7 }).expect(201);
      await alice.put(path, { value: 'AAEC', encoding: 'base64', contentType: 'image/png' }).expect(200);
      await admin.put(path, { value: 'ends', ttlSeconds: 3_600 }).expect(200);
      await alice.post(`${path}:destroy`, { versions: [3] }).expect(200);
      const carla = await system.as('carla');
      await carla.post(`${path}:breakGlass`, { reason: 'the yearly exercise' }).expect(200);
      await alice.patch(path, { expiresAt: new Date(system.now().getTime() + DAY_MS).toISOString() }).expect(200);
      system.passTime(1_000);
      await system.vault.lastReads.flush();
      const before = { rows: await rowsOf('from', 'db/password'), versions: await versionsOf('from', 'db/password') };
      const { body: read } = await alice.get(path).expect(200);
      const [from, to] = [await vaultId('from'), await vaultId('to')];

      const moved = await alice.post(one('from', 'db/password'), { vault: 'to', name: 'Main-Db' }).expect(200);
      expect(moved.headers).not.toHaveProperty('cardea-dependants');
      const { createdAt, updatedAt, ...summary } = moved.body as Record<string, string>;
      expect(summary).toEqual({
        vault: 'to',
        name: 'Main-Db',
        version: 4,
        metadata: { team: 'a' },
        maxVersions: 7,
        expiresAt: read.expiresAt,
      });
      expect(new Date(updatedAt!).getTime()).toBeGreaterThan(new Date(createdAt!).getTime());
      expect(await recordsOf(system, moved)).toMatchObject([
        {
          action: 'secret.move',
          decision: 'allow',
          rule: 'grant:owner',
          resource: {
            vault: 'from',
            vaultId: from,
            name: 'db/password',
            toVault: 'to',
            toVaultId: to,
            toName: 'Main-Db',
          },
          dekVersion: 1,
        },
      ]);
      // With several versions there is no single hash, and no secrets are counted.
      const [record] = await recordsOf(system, moved);
      expect(record).not.toHaveProperty('ciphertextSha256');
      expect(record!.resource).not.toHaveProperty('count');

      expect((await alice.get(at('to', 'Main-Db')).expect(200)).body).toEqual({ ...read, name: 'Main-Db' });
      expect((await alice.get(`${at('to', 'Main-Db')}?version=2`).expect(200)).body.value).toBe(CANARY);
      await alice.get(`${at('to', 'Main-Db')}?version=3`).expect(410);
      await alice.get(`${at('to', 'Main-Db')}?version=1`).expect(404);
      const versions = await versionsOf('to', 'Main-Db');
      expect(versions.map(unread)).toEqual(before.versions.map(unread));
      expect(versions[0]).toMatchObject({
        breakGlass: [{ reason: 'the yearly exercise' }],
        createdBy: { name: 'admin' },
      });

      const rows = await rowsOf('to', 'Main-Db');
      expect(rows.map((row) => unread({ ...row, ciphertext: 0 }))).toEqual(
        before.rows.map((row) => unread({ ...row, ciphertext: 0, vault_id: to })),
      );
      for (const [i, { ciphertext }] of rows.entries()) {
        const old = before.rows[i]!.ciphertext;
        expect(ciphertext === null).toBe(old === null);
        if (ciphertext && old) expect(Buffer.from(ciphertext).equals(Buffer.from(old))).toBe(false);
      }
      for (const call of [alice.get(path), alice.get(`${path}:versions`), alice.delete(path)]) {
        expect((await call).status).toBe(404);
      }
      expect([await namesIn(alice, 'from'), await namesIn(alice, 'from', '?deleted=true')]).toEqual([[], []]);
      expect((await alice.get('/secrets?q=db&metadata.team=a').expect(200)).body.items).toMatchObject([
        { vault: 'to', name: 'Main-Db' },
      ]);
      expect((await alice.get('/secrets?q=password').expect(200)).body.items).toEqual([]);
      // The versions in the trash are restored here.
      await alice.request('post', `${at('to', 'Main-Db')}:restore`).expect(200);
      expect((await alice.get(`${at('to', 'Main-Db')}?version=1`).expect(200)).body.value).toBe('in the trash');
      // The name is free, and its versions continue to count.
      expect((await alice.put(path, { value: 'new' }).expect(201)).body).toMatchObject({ version: 5 });
      expect((await alice.put(at('to', 'Main-Db'), { value: 'next' }).expect(200)).body).toMatchObject({ version: 5 });
    });

    test('opens under its new name in the same vault', async () => {
      await alice.createVault('renamed');
      for (const value of ['one', 'two']) await alice.putSecret('renamed', 'a', value);
      const { body } = await alice.post(one('renamed', 'a'), { name: 'a/b' }).expect(200);
      expect(body).toMatchObject({ vault: 'renamed', name: 'a/b', version: 2 });
      expect(await alice.readSecret('renamed', 'a/b')).toBe('two');
      expect((await alice.get(`${at('renamed', 'a/b')}?version=1`).expect(200)).body.value).toBe('one');
      await alice.get(at('renamed', 'a')).expect(404);
    });

    test('has the hash of its ciphertext in the record, or none if it is destroyed', async () => {
      await alice.createVault('hashed');
      await alice.putSecret('hashed', 'a', CANARY);
      const first = await alice.post(one('hashed', 'a'), { name: 'b' }).expect(200);
      const [row] = await rowsOf('hashed', 'b');
      expect(await recordsOf(system, first)).toMatchObject([
        { action: 'secret.move', dekVersion: 1, ciphertextSha256: sha256Hex(row!.ciphertext!) },
      ]);
      await alice.post(`${at('hashed', 'b')}:destroy`, { versions: [1] }).expect(200);
      const [record] = await recordsOf(system, await alice.post(one('hashed', 'b'), { name: 'c' }).expect(200));
      expect(record).not.toHaveProperty('dekVersion');
      expect(record).not.toHaveProperty('ciphertextSha256');
    });

    test('leaves references to its old name unchanged, says how many there are, and stays a reference if it was one', async () => {
      await alice.createVault('refs');
      await alice.putSecret('refs', 's', 'v');
      for (const name of ['r1', 'r2']) await alice.put(at('refs', name), reference('refs', 's')).expect(201);
      const moved = await alice.post(one('refs', 's'), { name: 't' }).expect(200);
      expect(moved.headers['cardea-dependants']).toBe('2');
      await alice.get(at('refs', 'r1')).expect(404);
      await alice.post(one('refs', 't'), { name: 's' }).expect(200);
      expect((await alice.post(one('refs', 'r1'), { name: 'r3' }).expect(200)).headers).not.toHaveProperty(
        'cardea-dependants',
      );
      expect(await alice.readSecret('refs', 'r3')).toBe('v');
      expect((await alice.delete(at('refs', 's')).expect(204)).headers['cardea-dependants']).toBe('2');
    });

    test('is refused where it would lead back to itself', async () => {
      await alice.createVault('round');
      // `waiting` points to a name that does not exist yet.
      await alice.put(at('round', 'waiting'), reference('round', 'end')).expect(201);
      await alice.put(at('round', 'a'), reference('round', 'waiting')).expect(201);
      const before = await contents(system);
      for (const answer of [
        await alice.post(one('round', 'a'), { name: 'end' }).expect(409),
        await alice.post(all('round'), { prefix: 'a', toPrefix: 'end' }).expect(409),
      ]) {
        expect(answer.body.detail).toContain('the reference leads back to the secret itself');
        expect(await recordsOf(system, answer)).toMatchObject([
          { action: 'secret.move', decision: 'deny', rule: 'reference-circle', resource: { name: 'a', toName: 'end' } },
        ]);
      }
      expect(await contents(system)).toEqual(before);
      // The move succeeds once the version that leads there is destroyed.
      await alice.put(at('round', 'a'), { value: 'v' }).expect(200);
      await alice.post(`${at('round', 'a')}:destroy`, { versions: [1] }).expect(200);
      await alice.post(one('round', 'a'), { name: 'end' }).expect(200);
      expect(await alice.readSecret('round', 'waiting')).toBe('v');
    });

    test('takes no existing name, not even one in the trash, and a secret that does not exist is not moved', async () => {
      for (const vault of ['names', 'names-2']) await alice.createVault(vault);
      for (const name of ['s', 'live', 'trashed', 'gone']) await alice.putSecret('names', name, 'v');
      for (const name of ['trashed', 'gone']) await alice.delete(at('names', name)).expect(204);
      await alice.putSecret('names-2', 's', 'v');
      const before = await contents(system);
      for (const [name, body, status, rule] of [
        ['s', { name: 'live' }, 409, 'name-taken'],
        ['s', { name: 'trashed' }, 409, 'name-taken'],
        ['s', { name: 's' }, 409, 'name-taken'],
        ['s', { vault: 'names', name: 's' }, 409, 'name-taken'],
        ['s', { vault: 'names-2', name: 's' }, 409, 'name-taken'],
        ['s', { vault: 'nowhere', name: 's' }, 404, 'no-such-vault'],
        ['gone', { name: 'x' }, 404, 'no-such-secret'],
        ['nothing', { name: 'x' }, 404, 'no-such-secret'],
      ] as const) {
        const answer = await alice.post(one('names', name), body);
        expect([name, body, answer.status]).toEqual([name, body, status]);
        expect(await recordsOf(system, answer)).toMatchObject([
          { action: 'secret.move', decision: 'deny', rule, resource: { vault: 'names', name, toName: body.name } },
        ]);
      }
      for (const body of [
        {},
        { name: '' },
        { name: '../x' },
        { name: 'x'.repeat(513) },
        { name: 'x', vault: 'X' },
        { toName: 'x' },
      ]) {
        await alice.post(one('names', 's'), body).expect(400);
      }
      expect(await contents(system)).toEqual(before);
    });

    test('is not moved if one of its versions is damaged', async () => {
      await alice.createVault('broken');
      for (const value of ['one', 'two', 'three']) await alice.putSecret('broken', 's', value);
      const [first] = await rowsOf('broken', 's');
      await query(
        system,
        `update secret_version
            set ciphertext = (select o.ciphertext from secret_version o where o.secret_id = $1 and o.version = 1)
          where secret_id = $1
            and version = 2`,
        [first!.secret_id],
      );
      const before = await contents(system);
      for (const answer of [
        await alice.post(one('broken', 's'), { name: 't' }).expect(500),
        await alice.post(all('broken'), { prefix: 's', toPrefix: 't' }).expect(500),
      ]) {
        expect(await recordsOf(system, answer)).toMatchObject([
          {
            action: 'secret.move',
            decision: 'deny',
            suspicious: 'integrity_failure',
            resource: { name: 's', toName: 't' },
          },
        ]);
      }
      expect(await contents(system)).toEqual(before);
    });
  });

  describe('the rights of a move', () => {
    test('are reading and deleting here and writing there: no single one of them moves a value', async () => {
      for (const vault of ['theirs', 'mine']) await alice.createVault(vault);
      const mallory = await newUser(system, 'mallory');
      await alice.putSecret('theirs', 'apps/s', CANARY);
      await alice.putSecret('theirs', 'other/s', CANARY);
      const everything = ['list', 'read', 'write', 'delete', 'destroy', 'manage'];
      const but = (verb: string) => everything.filter((other) => other !== verb);
      const before = await contents(system);
      const cases: [string, object, object, number, string][] = [
        ['no reading here', { secrets: but('read') }, { secrets: everything }, 403, 'grant:secret.read'],
        ['no deleting here', { secrets: but('delete') }, { secrets: everything }, 403, 'grant:secret.delete'],
        ['no writing there', { secrets: everything }, { secrets: but('write') }, 403, 'grant:secret.write'],
        ['nothing here', {}, { secrets: everything }, 404, 'grant:empty'],
        ['nothing there', { secrets: everything }, {}, 404, 'grant:empty'],
        ['another path here', { secrets: everything, pathPrefix: 'other' }, { owner: true }, 404, 'grant:path'],
        ['another path there', { owner: true }, { secrets: everything, pathPrefix: 'apps' }, 404, 'grant:path'],
        ['a longer path here', { secrets: everything, pathPrefix: 'apps/s/t' }, { owner: true }, 404, 'grant:path'],
        ['only keys here', { keys: ['list', 'export'] }, { owner: true }, 403, 'grant:secret.read'],
      ];
      for (const [what, here, there, status, rule] of cases) {
        await grant(alice, 'theirs', 'user:mallory', here);
        await grant(alice, 'mine', 'user:mallory', there);
        const body = { vault: 'mine', name: 'got/s' };
        const bulk = { vault: 'mine', prefix: 'apps/s', toPrefix: 'got/s' };
        for (const answer of [
          await mallory.post(one('theirs', 'apps/s'), body),
          await mallory.post(all('theirs'), bulk),
          await mallory.post(all('theirs'), { ...bulk, dryRun: true }),
        ]) {
          expect([what, answer.status, answer.text.includes(CANARY)]).toEqual([what, status, false]);
          const resource = { vault: 'theirs', name: 'apps/s', toVault: 'mine', toName: 'got/s' };
          expect(await recordsOf(system, answer)).toMatchObject([
            { action: 'secret.move', decision: 'deny', rule, resource },
          ]);
        }
      }
      expect(await contents(system)).toEqual(before);
      await (await system.as('carla')).post(one('theirs', 'apps/s'), { name: 'x' }).expect(403);

      await grant(alice, 'theirs', 'user:mallory', { secrets: ['read', 'delete'], pathPrefix: 'apps' });
      await grant(alice, 'mine', 'user:mallory', { secrets: ['write'], pathPrefix: 'got' });
      // A caller who may not write there does not even learn that a name is in use.
      await alice.putSecret('mine', 'hidden', 'v');
      await mallory.post(one('theirs', 'apps/s'), { vault: 'mine', name: 'hidden' }).expect(404);
      // Only a caller who may list sees the names below a prefix.
      for (const dryRun of [false, true]) {
        const bulk = { vault: 'mine', prefix: 'apps', toPrefix: 'got', dryRun };
        const answer = await mallory.post(all('theirs'), bulk).expect(403);
        expect(await recordsOf(system, answer)).toMatchObject([{ decision: 'deny', rule: 'grant:secret.list' }]);
      }
      const moved = await mallory.post(one('theirs', 'apps/s'), { vault: 'mine', name: 'got/s' }).expect(200);
      const [record] = await recordsOf(system, moved);
      expect(record!.rule).toBe('grant:secret.read, grant:secret.delete, grant:secret.write');
      expect(await alice.readSecret('mine', 'got/s')).toBe(CANARY);
      await mallory.get(at('mine', 'got/s')).expect(403);
    });
  });

  describe('all secrets below a prefix', () => {
    const NAMES = ['app', 'app-2', 'app.d', 'app/a', 'app/b/c', 'app0', 'other'];

    async function fill(vault: string): Promise<void> {
      await alice.createVault(vault);
      for (const name of NAMES) await alice.putSecret(vault, name, `value of ${name}`);
      await alice.putSecret(vault, 'app/trashed', 'in the trash');
      await alice.delete(at(vault, 'app/trashed')).expect(204);
    }

    test('move at once with one record, with those in the trash, and nothing beside them', async () => {
      await fill('below');
      await alice.createVault('below-2');
      await alice.put(at('below', 'ref'), reference('below', 'app/a')).expect(201);
      const before = await contents(system);
      const request = { prefix: 'app', vault: 'below-2', toPrefix: 'svc/app' };
      const dry = await alice.post(all('below'), { ...request, dryRun: true }).expect(200);
      expect(await contents(system)).toEqual(before);
      const done = await alice.post(all('below'), request).expect(200);
      expect(done.body).toEqual({
        items: ['app', 'app/a', 'app/b/c', 'app/trashed'].map((name) => ({ name, toName: `svc/${name}` })),
        dryRun: false,
      });
      expect(dry.body).toEqual({ ...done.body, dryRun: true });
      expect([dry, done].map(({ headers }) => headers['cardea-dependants'])).toEqual(['1', '1']);
      for (const [answer, reason] of [
        [dry, 'dry run'],
        [done, undefined],
      ] as const) {
        const records = await recordsOf(system, answer);
        expect(records.map(({ action, rule, resource, reason }) => ({ action, rule, resource, reason }))).toEqual([
          {
            action: 'secret.move',
            rule: 'grant:owner',
            resource: {
              vault: 'below',
              vaultId: await vaultId('below'),
              name: 'app',
              toVault: 'below-2',
              toVaultId: await vaultId('below-2'),
              toName: 'svc/app',
              count: 4,
            },
            reason,
          },
        ]);
      }
      expect(await namesIn(alice, 'below')).toEqual(['app-2', 'app.d', 'app0', 'other', 'ref']);
      expect(await namesIn(alice, 'below', '?deleted=true')).toEqual([]);
      for (const name of ['app', 'app/a', 'app/b/c']) {
        expect(await alice.readSecret('below-2', `svc/${name}`)).toBe(`value of ${name}`);
        await alice.get(at('below', name)).expect(404);
      }
      expect(await namesIn(alice, 'below-2', '?deleted=true')).toEqual(['svc/app/trashed']);
      expect(await namesIn(alice, 'below-2', '?q=trashed')).toEqual([]);
      await alice.request('post', `${at('below-2', 'svc/app/trashed')}:restore`).expect(200);
      expect(await alice.readSecret('below-2', 'svc/app/trashed')).toBe('in the trash');
    });

    test('move deeper into themselves and out again, past names that they give up', async () => {
      await alice.createVault('deep');
      const names = ['a', 'a/a', 'a/a/a', 'a/a/a/a', 'a/b', 'a/a/b'];
      for (const name of names) await alice.putSecret('deep', name, `value of ${name}`);
      const read = (names: string[]) => Promise.all(names.map((name) => alice.readSecret('deep', name)));
      const values = await read(names);
      await alice.post(all('deep'), { prefix: 'a', toPrefix: 'a/a' }).expect(200);
      expect(await namesIn(alice, 'deep')).toEqual(names.map((name) => `a/${name}`).toSorted());
      expect(await read(names.map((name) => `a/${name}`))).toEqual(values);
      await alice.post(all('deep'), { prefix: 'a/a', toPrefix: 'a' }).expect(200);
      expect(await namesIn(alice, 'deep')).toEqual(names.toSorted());
      expect(await read(names)).toEqual(values);
    });

    test('stay if one name is in use, even in the trash, or would be too long, or if there are none', async () => {
      await fill('stuck');
      for (const name of ['full/app/b/c', 'bin/app/a']) await alice.putSecret('stuck', name, 'v');
      await alice.delete(at('stuck', 'bin/app/a')).expect(204);
      const long = ['a', 'b', 'c', 'd']
        .map((letter) => letter.repeat(128))
        .join('/')
        .slice(0, 509);
      const before = await contents(system);
      for (const [body, status, resource, detail] of [
        [{ prefix: 'app', toPrefix: 'full/app' }, 409, { name: 'app/b/c' }, /^app\/b\/c: full\/app\/b\/c is taken/],
        [{ prefix: 'app', toPrefix: 'bin/app' }, 409, { name: 'app/a' }, /^app\/a: bin\/app\/a is taken/],
        [{ prefix: 'app', toPrefix: 'app' }, 409, { name: 'app' }, /^app: app is taken/],
        [{ prefix: 'app', toPrefix: long }, 400, { name: 'app' }, /\/b\/c would be too long/],
        [{ prefix: 'nothing', toPrefix: 'app' }, 404, { name: 'nothing' }, /./],
        [{ prefix: 'app', toPrefix: 'x', vault: 'nowhere' }, 404, { name: 'app' }, /^the destination: /],
      ] as const) {
        for (const dryRun of [false, true]) {
          const answer = await alice.post(all('stuck'), { ...body, dryRun });
          expect([body, answer.status, answer.body.detail]).toEqual([body, status, expect.stringMatching(detail)]);
          expect(await recordsOf(system, answer)).toMatchObject([
            {
              action: 'secret.move',
              decision: 'deny',
              resource: { vault: 'stuck', ...resource, toName: body.toPrefix },
            },
          ]);
        }
      }
      for (const body of [
        { prefix: 'app' },
        { toPrefix: 'x' },
        { prefix: 'app//a', toPrefix: 'x' },
        { prefix: '', toPrefix: 'x' },
      ]) {
        await alice.post(all('stuck'), body).expect(400);
      }
      expect(await contents(system)).toEqual(before);
    });

    test('are at most a thousand secrets and five thousand versions: more are refused with advice', async () => {
      await alice.createVault('many');
      await addMany(system, { vault: 'many', prefix: 'few', count: 51 });
      await addMany(system, { vault: 'many', prefix: 'many', count: 1_001 });
      await query(
        system,
        `with recursive n (i) as (select 1 union all select i + 1 from n where i < 100)
         insert into secret_version (secret_id, vault_id, version, encoding, created_at, created_by)
         select s.id, s.vault_id, n.i, 'utf8', 1, 'service:test'
           from secret s
           join n on true
          where s.name like 'few/%'`,
      );
      const before = await contents(system);
      for (const [prefix, detail] of [
        ['many', 'the prefix has more than 1000 secrets: move longer prefixes, one at a time'],
        ['few', 'the prefix has more than 5000 versions: move longer prefixes, one at a time'],
      ] as const) {
        const { body } = await alice.post(all('many'), { prefix, toPrefix: 'x' }).expect(413);
        expect(body).toMatchObject({ code: 'too_large', detail });
      }
      expect(await contents(system)).toEqual(before);
      await alice.post(one('many', 'many/2000'), { name: 'apart' }).expect(200);
      const { body } = await alice.post(all('many'), { prefix: 'many', toPrefix: 'y' }).expect(200);
      expect(body.items).toHaveLength(1_000);
    });
  });

  test('a secret that is written all the time loses no value during its move', async () => {
    for (const vault of ['storm-0', 'storm-1']) await alice.createVault(vault);
    const storm = { moves: 0, isOver: false };
    const acknowledged: string[] = [];
    await alice.put(at('storm-0', 'at/0'), { value: 'first', maxVersions: 100 }).expect(201);
    acknowledged.push('first');
    const write = async (writer: number) => {
      // As many versions as the vault keeps.
      for (let i = 0; i < 32 && !storm.isOver; i += 1) {
        const { vault, name } = place(storm.moves);
        const value = `${writer}:${i}`;
        const { status } = await alice.put(at(vault, name), { value, maxVersions: 100 });
        expect([200, 201]).toContain(status);
        acknowledged.push(value);
      }
    };
    const move = async () => {
      for (let i = 1; i <= MOVES; i += 1) {
        const { vault, name } = place(i - 1);
        const to = place(i);
        const { status } = await alice.post(one(vault, name), to);
        expect([to, status]).toEqual([to, 200]);
        storm.moves = i;
      }
    };
    const moving = move().finally(() => (storm.isOver = true));
    await Promise.all([moving, write(1), write(2), write(3)]);

    const found: string[] = [];
    for (let i = 0; i <= MOVES; i += 1) {
      const { vault, name } = place(i);
      const { status } = await alice.get(at(vault, name));
      if (status === 404) continue;
      for (const { version } of await versionsOf(vault, name)) {
        const { body } = await alice.get(`${at(vault, name)}?version=${version}`).expect(200);
        found.push(body.value as string);
      }
    }
    expect(found.toSorted()).toEqual(acknowledged.toSorted());
    // A move is found by the vault that it leaves and by the one that it reaches.
    expect(await admin.auditEntries({ vault: 'storm-0', action: 'secret.move', decision: 'allow' })).toHaveLength(
      MOVES,
    );
  });

  test('many secrets are moved while others write all the time', async () => {
    for (const vault of ['busy', 'busy-2']) await alice.createVault(vault);
    const secrets = Array.from({ length: 100 }, (_, i) => ({ name: `app/s${i}`, value: 'v'.repeat(4_096) }));
    await alice.post('/vaults/busy/secrets:batchWrite', { secrets }).expect(200);
    const moving = { isOver: false };
    const write = async (name: string) => {
      for (let i = 0; !moving.isOver; i += 1) {
        const vault = i % 2 === 0 ? 'busy' : 'busy-2';
        expect([200, 201]).toContain((await alice.put(at(vault, name), { value: String(i) })).status);
      }
    };
    const move = async () => {
      for (const [from, to] of [
        ['busy', 'busy-2'],
        ['busy-2', 'busy'],
      ] as const) {
        const { status, body } = await alice.post(all(from), { prefix: 'app', vault: to, toPrefix: 'app' });
        expect([status, (body.items as object[] | undefined)?.length]).toEqual([200, 100]);
      }
    };
    await Promise.all([move().finally(() => (moving.isOver = true)), ...['x', 'y', 'z'].map(write)]);
    expect(await alice.readSecret('busy', 'app/s99')).toBe('v'.repeat(4_096));
  });

  test('while kek-service or the audit log does not answer nothing is moved, and the answer is 503', async () => {
    for (const vault of ['away', 'away-2']) await alice.createVault(vault);
    for (const name of ['s', 's/t']) await alice.putSecret('away', name, CANARY);
    await alice.putSecret('away-2', 'x', 'v');
    const before = await contents(system);
    const expectAway = async (statusOfDryRun: number) => {
      const move = { prefix: 's', vault: 'away-2', toPrefix: 's' };
      await alice.post(one('away', 's'), { vault: 'away-2', name: 's' }).expect(503);
      await alice.post(all('away'), move).expect(503);
      await alice.post(all('away'), { ...move, dryRun: true }).expect(statusOfDryRun);
      expect(await contents(system)).toEqual(before);
    };
    await system.stopService('kek');
    for (const vault of ['away', 'away-2']) {
      // The DEK of the other vault is in memory.
      system.vault.deks.forget(await vaultId(vault));
      // A dry run opens nothing.
      await expectAway(200);
    }
    await system.startService('kek');
    expect(await alice.readSecret('away', 's')).toBe(CANARY);

    await system.stopService('audit');
    await alice.get('/auth/me').expect(503);
    await expectAway(503);
    await system.startService('audit');
    await untilAnswers(alice);
    await alice.post(one('away', 's'), { vault: 'away-2', name: 's' }).expect(200);
    expect(await alice.readSecret('away-2', 's')).toBe(CANARY);
  });
});

/** Without the last reads, which other tests check. */
function unread(row: object): object {
  return { ...row, lastReadAt: 0, lastReadBy: 0, last_read_at: 0, last_read_by: 0 };
}
