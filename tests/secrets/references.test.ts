import { describe, expect, test } from '@jest/globals';
import type { Person } from '@cardea/testkit/person';
import { inEachProfile } from '@cardea/testkit/use-system';
import { grant } from '../access/granting.ts';
import { countStatuses, recordsOf } from '../identity/identity.ts';
import { at, contents, countRecords, query, trail } from './ground.ts';

const REFERENCE = 'application/vnd.cardea.reference+json';
const VALUE = 'canary-8c21d0';

type Target = { vault: string; name: string; version?: number };

/** The body of a write that makes a reference. */
const to = (target: Target) => ({ value: JSON.stringify({ $ref: target }), contentType: REFERENCE });

/** The vaults of a reference and of its target. */
const hops = (reader: string) => ({ near: `near-${reader}`, far: `far-${reader}` });

/** A path in the vault of circles. */
const inRound = (name: string, version?: number): Target => ({ vault: 'round', name, ...(version ? { version } : {}) });

/** A path in the vault of a writer who wants to learn what another vault has. */
const spied = (name: string): Target => ({ vault: 'spy', name });

/** A path in the vault of the long chain. */
const hop = (i: number): Target => ({ vault: 'long', name: `hop-${i}` });

inEachProfile((system, { alice, bob }) => {
  /** Makes a vault with `target` and a reference `ref` to it. Returns the path of `ref`. */
  async function given(vault: string, target: object = { value: VALUE }): Promise<string> {
    await alice.createVault(vault);
    await alice.put(at(vault, 'target'), target).expect(201);
    await refer(vault, 'ref', { vault, name: 'target' });
    return at(vault, 'ref');
  }

  async function refer(vault: string, name: string, target: Target): Promise<void> {
    expect((await alice.put(at(vault, name), to(target))).status).toBeLessThan(202);
  }

  /** Makes a reference in a vault where bob may read, to a vault where he has the given rights. */
  async function across(reader: string, granted: object | undefined): Promise<string> {
    const { near, far } = hops(reader);
    await alice.createVault(far);
    await alice.putSecret(far, 'db/target', VALUE);
    await alice.createVault(near);
    await refer(near, 'ref', { vault: far, name: 'db/target' });
    await grant(alice, near, 'user:bob', { secrets: ['read'] }).expect(201);
    if (granted) await grant(alice, far, 'user:bob', granted).expect(201);
    return at(near, 'ref');
  }

  /** The count that the answer to a deletion or a move shows, and the reason in its record. */
  async function counted(call: ReturnType<Person['get']>): Promise<[string | undefined, string | undefined]> {
    const answer = await call;
    const records = await recordsOf(system, answer);
    return [answer.headers['cardea-dependants'], records.at(-1)!.reason];
  }

  describe('a reference', () => {
    test('is read as its target, under its own name, with a record of each', async () => {
      const value = Buffer.from([0, 200, 255]).toString('base64');
      const path = await given('read', {
        value,
        encoding: 'base64',
        contentType: 'image/png',
        metadata: { of: 'target' },
      });
      const { body: own } = await alice.patch(path, { metadata: { of: 'ref' } }).expect(200);
      const answer = await alice.get(path).expect(200);
      expect(answer.body).toEqual({
        name: 'ref',
        version: 1,
        target: { vault: 'read', name: 'target', version: 1 },
        value,
        encoding: 'base64',
        contentType: 'image/png',
        metadata: { of: 'ref' },
        createdAt: own.createdAt as string,
      });
      const records = await recordsOf(system, answer);
      expect(records).toMatchObject([
        { action: 'secret.read', decision: 'allow', rule: 'grant:owner', resource: { name: 'ref', version: 1 } },
        { action: 'secret.read', decision: 'allow', rule: 'grant:owner', resource: { name: 'target', version: 1 } },
      ]);
      const { body: log } = await (
        await system.as('admin')
      )
        .get('/audit/entries?action=secret.read&vault=read')
        .expect(200);
      const { seq } = (log.items as { seq: number; event: { id: string } }[]).find(
        ({ event }) => event.id === records[0]!.id,
      )!;
      expect(answer.headers['cardea-receipt']).toMatch(`seq=${seq} `);
      for (const name of ['ref', 'target']) {
        const { body } = await alice.get(`${at('read', name)}:versions`).expect(200);
        expect(body.items).toMatchObject([{ lastReadBy: { name: 'alice' } }]);
      }
    });

    test('is read itself on request: with one record, and it shows its target', async () => {
      const path = await given('itself');
      const answer = await alice.get(`${path}?resolve=false`).expect(200);
      expect(answer.body).toMatchObject({ ...to({ vault: 'itself', name: 'target' }), encoding: 'utf8' });
      expect([answer.headers['etag'], answer.text.includes(VALUE)]).toEqual(['"1"', false]);
      expect(await recordsOf(system, answer)).toMatchObject([{ resource: { name: 'ref' } }]);
      await alice.get(`${path}?resolve=false`).set('If-None-Match', '"1"').expect(304);
      await alice.get(`${path}?resolve=no`).expect(400);
    });

    test('is written with the tag of its read, which covers more than its own version', async () => {
      const path = await given('over');
      const tag = (await alice.get(path).expect(200)).headers['etag']!;
      await alice.put(path, { value: 'plain' }).set('If-Match', '"2-1"').expect(412);
      await alice.put(path, { value: 'plain' }).set('If-Match', tag).expect(200);
      await alice.put(path, { value: 'late' }).set('If-Match', tag).expect(412);
      expect(await alice.readSecret('over', 'ref')).toBe('plain');
    });

    test('follows the newest version, or stays at the version that it names', async () => {
      const path = await given('pinned', { value: 'one' });
      await refer('pinned', 'pin', { vault: 'pinned', name: 'target', version: 1 });
      await alice.putSecret('pinned', 'target', 'two');
      expect([await alice.readSecret('pinned', 'ref'), await alice.readSecret('pinned', 'pin')]).toEqual([
        'two',
        'one',
      ]);
      await alice.put(path, { value: 'no more' }).expect(200);
      expect(await alice.readSecret('pinned', 'ref')).toBe('no more');
      expect((await alice.get(`${path}?version=1`).expect(200)).body.value).toBe('two');
    });

    test('has a tag that changes with its target; a client with that tag gets 304 and no record', async () => {
      const path = await given('tagged', { value: 'one' });
      await refer('tagged', 'far', { vault: 'tagged', name: 'ref' });
      expect((await alice.get(at('tagged', 'far')).expect(200)).headers['etag']).toBe('"1-1-1"');
      const records = await countRecords(system);
      const answer = await alice.get(at('tagged', 'far')).set('If-None-Match', '"1-1-1"').expect(304);
      expect([answer.text, answer.headers['etag']]).toEqual(['', '"1-1-1"']);
      expect(await countRecords(system)).toBe(records);
      await alice.putSecret('tagged', 'target', 'two');
      const changed = await alice.get(at('tagged', 'far')).set('If-None-Match', '"1-1-1"').expect(200);
      expect([changed.body.value, changed.headers['etag']]).toEqual(['two', '"1-1-2"']);
      await refer('tagged', 'ref', { vault: 'tagged', name: 'target', version: 1 });
      const other = await alice.get(at('tagged', 'far')).set('If-None-Match', '"1-1-2"').expect(200);
      expect([other.body.value, other.headers['etag']]).toEqual(['one', '"1-2-1"']);
      await alice.get(path).set('If-None-Match', '"2", "1"').expect(200);
    });

    test('expires with its target', async () => {
      const path = await given('ending', { value: 'v', ttlSeconds: 5 });
      await alice.patch(path, { ttlSeconds: 60 }).expect(200);
      const { body } = await alice.get(path).expect(200);
      const { body: target } = await alice.get(at('ending', 'target')).expect(200);
      expect(body.expiresAt).toBe(target.expiresAt);
      system.passTime(5_000);
      const gone = await alice.get(path).expect(410);
      expect(await recordsOf(system, gone)).toMatchObject([
        { decision: 'deny', reason: 'gone', rule: 'expired', resource: { vault: 'ending', name: 'target' } },
      ]);
    });

    test('to a target that does not exist, is in the trash or was destroyed leads nowhere, until it exists', async () => {
      const path = await given('dangling');
      await refer('dangling', 'early', { vault: 'dangling', name: 'late' });
      await refer('dangling', 'elsewhere', { vault: 'no-such-vault', name: 'late' });
      await refer('dangling', 'beyond', { vault: 'dangling', name: 'target', version: 2 });
      for (const name of ['early', 'elsewhere', 'beyond']) await alice.get(at('dangling', name)).expect(404);
      expect((await trail(system, 'dangling', 'secret.read')).slice(-2)).toEqual([
        'secret.read! late no-such-secret not_found',
        'secret.read! target no-such-secret not_found',
      ]);
      await alice.putSecret('dangling', 'late', 'here now');
      expect(await alice.readSecret('dangling', 'early')).toBe('here now');
      await alice.delete(at('dangling', 'target')).expect(204);
      await alice.get(path).expect(404);
      await alice.request('post', `${at('dangling', 'target')}:restore`).expect(200);
      await alice.post(`${at('dangling', 'target')}:destroy`, { versions: [1] }).expect(200);
      await alice.get(path).expect(410);
    });

    test.each([
      '',
      'text',
      'null',
      '[]',
      '{}',
      '{"$ref": null}',
      '{"$ref": "payments/db"}',
      '{"$ref": {}}',
      '{"$ref": {"vault": "malformed"}}',
      '{"$ref": {"name": "target"}}',
      '{"$ref": {"vault": "Malformed", "name": "target"}}',
      '{"$ref": {"vault": "malformed", "name": "a//b"}}',
      '{"$ref": {"vault": "malformed", "name": "../b"}}',
      '{"$ref": {"vault": "malformed", "name": "target", "version": 0}}',
      '{"$ref": {"vault": "malformed", "name": "target", "version": "1"}}',
      '{"$ref": {"vault": "malformed", "name": "target", "version": null}}',
      '{"$ref": {"vault": "malformed", "name": "target", "resolve": false}}',
      '{"$ref": {"vault": "malformed", "name": "target"}, "value": "x"}',
      '{"$ref": {"vault": "malformed", "name": "target"}}}',
    ])('that is malformed is not stored: %s', async (value) => {
      const refused = await alice.put(at('read', 'malformed'), { value, contentType: REFERENCE }).expect(400);
      expect(refused.body.detail).toContain('{"$ref"');
      await alice.get(at('read', 'malformed')).expect(404);
    });

    test('appears in the record of the deletion of its target', async () => {
      await given('counted');
      await refer('counted', 'second', { vault: 'counted', name: 'target' });
      await alice.createVault('deleted');
      for (const name of ['former', 'trashed', 'destroyed']) {
        await refer('counted', name, { vault: 'counted', name: 'target' });
      }
      await refer('deleted', 'ref', { vault: 'counted', name: 'target' });
      await alice.putSecret('counted', 'former', 'a value');
      await alice.delete(at('counted', 'trashed')).expect(204);
      await alice.post(`${at('counted', 'destroyed')}:destroy`, { versions: [1] }).expect(200);
      await alice.delete('/vaults/deleted?recursive=true').expect(204);
      const counted = await alice.delete(at('counted', 'target')).expect(204);
      expect(counted.headers['cardea-dependants']).toBe('2');
      expect(await recordsOf(system, counted)).toMatchObject([{ reason: '2 references point to it' }]);
      const uncounted = await alice.delete(at('counted', 'ref')).expect(204);
      expect(uncounted.headers).not.toHaveProperty('cardea-dependants');
    });
  });

  describe('a name that was made again', () => {
    const MADE_AGAIN = 'was made after the reference';

    /** Checks that a read refuses to follow, shows nothing, and says so in the record. */
    async function expectStray(path: string, resource: Target): Promise<void> {
      const refused = await alice.get(path).expect(409);
      expect([refused.body.detail, refused.headers['etag']]).toEqual([expect.stringContaining(MADE_AGAIN), undefined]);
      expect(refused.text).not.toContain(VALUE);
      expect(await recordsOf(system, refused)).toMatchObject([
        { action: 'secret.read', decision: 'deny', reason: 'conflict', rule: 'reference-target', resource },
      ]);
    }

    test('is not followed by older references: a vault, a purged secret, a secret moved to the name', async () => {
      const ours = { vault: 'again', name: 'target' };
      await alice.createVault('referring');
      await alice.createVault('again');
      await alice.putSecret('again', 'target', 'ours');
      await refer('referring', 'ref', ours);
      await refer('referring', 'pin', { ...ours, version: 1 });
      await refer('referring', 'over', { vault: 'referring', name: 'ref' });
      expect(await alice.readSecret('referring', 'over')).toBe('ours');

      // A name in the trash keeps its secret.
      await alice.delete(at('again', 'target')).expect(204);
      await alice.put(at('again', 'target'), { value: 'still ours' }).expect(201);
      expect(await alice.readSecret('referring', 'over')).toBe('still ours');

      await alice.request('post', `${at('again', 'target')}:purge`).expect(204);
      await alice.get(at('referring', 'ref')).expect(404);
      await alice.putSecret('again', 'target', VALUE);
      for (const name of ['ref', 'over']) await expectStray(at('referring', name), ours);
      await alice.put(at('referring', 'ref'), to(ours)).expect(200);
      expect(await alice.readSecret('referring', 'over')).toBe(VALUE);

      await alice.post(`${at('again', 'target')}:move`, { name: 'away' }).expect(200);
      await alice.putSecret('again', 'other', VALUE);
      await alice.post(`${at('again', 'other')}:move`, { name: 'target' }).expect(200);
      await expectStray(at('referring', 'ref'), ours);
      const batch = await alice.post('/vaults/referring/secrets:batchRead', { names: ['ref'] }).expect(409);
      expect([batch.body.detail, batch.text.includes(VALUE)]).toEqual([expect.stringContaining(MADE_AGAIN), false]);
      await alice.post(`${at('again', 'target')}:move`, { name: 'other' }).expect(200);
      await alice.post(`${at('again', 'away')}:move`, { name: 'target' }).expect(200);
      expect(await alice.readSecret('referring', 'ref')).toBe(VALUE);

      await alice.delete('/vaults/again?recursive=true').expect(204);
      await bob.createVault('again');
      await bob.put(at('again', 'target'), { value: VALUE }).expect(201);
      await alice.get(at('referring', 'ref')).expect(404);
      await grant(bob, 'again', 'user:alice', { secrets: ['read'] }).expect(201);
      await expectStray(at('referring', 'ref'), ours);
    });

    test('is not followed if there was no such vault when the reference was written', async () => {
      const later = { vault: 'later', name: 'target' };
      await alice.createVault('early');
      await refer('early', 'ref', later);
      await alice.createVault('later');
      await alice.putSecret('later', 'target', VALUE);
      await expectStray(at('early', 'ref'), later);
      await alice.put(at('early', 'ref'), to(later)).expect(200);
      expect(await alice.readSecret('early', 'ref')).toBe(VALUE);
    });

    test('stays refused after a rollback, a move and a rotation; a document carries names only', async () => {
      await alice.createVault('kept');
      await alice.putSecret('kept', 'target', 'ours');
      await refer('kept', 'ref', { vault: 'kept', name: 'target' });
      await alice.put(at('kept', 'ref'), { value: 'not a reference' }).expect(200);
      await alice.request('post', `${at('kept', 'target')}:purge`).expect(204);
      await alice.putSecret('kept', 'target', VALUE);
      const target = { vault: 'kept', name: 'target' };
      await alice.post(`${at('kept', 'ref')}:rollback`, { version: 1 }).expect(200);
      await expectStray(at('kept', 'ref'), target);
      await alice.post(`${at('kept', 'ref')}:move`, { name: 'moved' }).expect(200);
      await expectStray(at('kept', 'moved'), target);
      const admin = await system.as('admin');
      const { body: rotation } = await admin.post('/rotations', { kind: 'dek', vault: 'kept' }).expect(202);
      await system.runJob('rotation.run', { rotationId: rotation.id as string });
      await expectStray(at('kept', 'moved'), target);
      // What is shown is the text as it was written.
      const text = (await alice.get(`${at('kept', 'moved')}?resolve=false`).expect(200)).body.value as string;
      expect(text).toBe(to(target).value);
      const exported = await alice.post('/vaults/kept/secrets:export', { format: 'json' }).expect(200);
      expect(JSON.stringify(exported.body)).not.toContain('vaultId');
      await alice.createVault('copy');
      const { content } = exported.body as { content: string };
      await alice.post('/vaults/copy/secrets:import', { format: 'json', content }).expect(200);
      // The import wrote the reference anew, to what has the name now.
      expect(await alice.readSecret('copy', 'moved')).toBe(VALUE);
    });

    test('tells nothing to a writer who may not read it', async () => {
      await alice.createVault('private');
      await alice.putSecret('private', 'target', VALUE);
      await bob.createVault('guessing');
      const target = { vault: 'private', name: 'target' };
      const again = async () => (await bob.put(at('guessing', 'ref'), to(target))).body.changed as boolean;
      expect([await again(), await again()]).toEqual([true, false]);
      await alice.request('post', `${at('private', 'target')}:purge`).expect(204);
      expect(await again()).toBe(false);
      await alice.putSecret('private', 'target', VALUE);
      expect(await again()).toBe(false);
      await grant(alice, 'private', 'user:bob', { secrets: ['read'] }).expect(201);
      expect([await again(), await again()]).toEqual([true, false]);
      expect(await bob.readSecret('guessing', 'ref')).toBe(VALUE);
    });
  });

  describe('the count of the references to what goes away', () => {
    test('has only those that the caller may list; the record has all', async () => {
      for (const vault of ['gone', 'seen', 'unseen-refs']) await alice.createVault(vault);
      for (const name of ['one', 'two']) await alice.putSecret('gone', name, VALUE);
      for (const [vault, name] of [
        ['gone', 'own'],
        ['seen', 'apps/a'],
        ['seen', 'ref'],
        ['unseen-refs', 'ref'],
      ] as const) {
        await refer(vault, name, { vault: 'gone', name: 'one' });
      }
      await refer('unseen-refs', 'two', { vault: 'gone', name: 'two' });
      const rights = { secrets: ['read', 'write', 'delete', 'destroy'] };
      await grant(alice, 'gone', 'user:bob', rights).expect(201);
      await grant(alice, 'seen', 'user:bob', { secrets: ['list'], pathPrefix: 'apps' }).expect(201);
      await grant(alice, 'unseen-refs', 'user:bob', { secrets: ['write'] }).expect(201);

      const moved = bob.post(`${at('gone', 'one')}:move`, { name: 'moved' });
      expect(await counted(moved)).toEqual(['1', undefined]);
      await bob.post(`${at('gone', 'moved')}:move`, { name: 'one' }).expect(200);
      expect(await counted(bob.delete(at('gone', 'one')))).toEqual(['1', '4 references point to it']);
      expect(await counted(bob.delete(at('gone', 'two')))).toEqual([undefined, '1 references point to it']);
      expect(await counted(bob.request('post', `${at('gone', 'one')}:purge`))).toEqual([
        '1',
        '4 references point to it',
      ]);

      // Of a whole vault: from other vaults only, before and when it is deleted.
      const refused = await alice.delete('/vaults/gone').expect(409);
      expect(refused.body.detail).toContain('4 references of other vaults point to them');
      expect(await counted(alice.delete('/vaults/gone?recursive=true'))).toEqual(['4', '4 references point to it']);
      await alice.createVault('gone');
      await alice.putSecret('gone', 'one', VALUE);
      expect(await counted(alice.delete('/vaults/gone?recursive=true'))).toEqual([undefined, undefined]);
    });
  });

  describe('a caller who follows a reference', () => {
    test.each([
      ['nothing', undefined, 404, 'default-deny'],
      ['list', { secrets: ['list', 'write'] }, 403, 'grant:secret.read'],
      ['path', { secrets: ['read'], pathPrefix: 'apps' }, 404, 'grant:path'],
      ['network', { secrets: ['read'], allowedCidrs: ['203.0.113.0/24'] }, 404, 'grant:network'],
    ])(
      'needs their own rights at the target (%s): the record names the target, and nothing is released',
      async (reader, granted, status, rule) => {
        const path = await across(reader, granted);
        const { near, far } = hops(reader);
        for (const request of [bob.get(path), bob.get(path).set('If-None-Match', '"1-1"')]) {
          const refused = await request;
          expect([refused.status, refused.headers['etag'], refused.text.includes(VALUE)]).toEqual([
            status,
            undefined,
            false,
          ]);
          expect(refused.text).not.toMatch(/far-|db\/target/);
          expect(await recordsOf(system, refused)).toEqual([
            expect.objectContaining({
              action: 'secret.read',
              decision: 'deny',
              rule,
              actor: expect.objectContaining({ name: 'bob' }) as object,
              resource: { vault: far, name: 'db/target' },
            }),
          ]);
        }
        expect(await trail(system, near, 'secret.read')).toEqual([]);
        // The target is in a place where they may read.
        await bob.get(`${path}?resolve=false`).expect(200);
        await grant(alice, far, 'user:bob', { secrets: ['read'] });
        expect((await bob.get(path).expect(200)).body.value).toBe(VALUE);
        expect((await trail(system, far, 'secret.read')).at(-1)).toBe('secret.read db/target 1 grant:secret.read');
      },
    );

    test('needs rights at the reference too, and oversight has none', async () => {
      await given('closed');
      await alice.createVault('opened');
      await alice.putSecret('opened', 'target', VALUE);
      await refer('closed', 'outward', { vault: 'opened', name: 'target' });
      await grant(alice, 'opened', 'user:bob', { secrets: ['read'] }).expect(201);
      const refused = await bob.get(at('closed', 'outward')).expect(404);
      expect(await recordsOf(system, refused)).toMatchObject([{ resource: { vault: 'closed', name: 'outward' } }]);
      await (await system.as('carla')).get(at('closed', 'outward')).expect(403);
    });
  });

  describe('a circle of references, or a chain that is too long,', () => {
    test('is not written: to itself, to each other, over several, or through versions', async () => {
      await alice.createVault('round');
      const refuses = async (name: string, target: Target) => {
        const before = await contents(system);
        const refused = await alice.put(at('round', name), to(target)).expect(400);
        expect(refused.body.detail).toMatch(/leads back/);
        expect(await recordsOf(system, refused)).toMatchObject([{ decision: 'deny', rule: 'reference-circle' }]);
        expect(await contents(system)).toEqual(before);
      };
      await refuses('self', inRound('self'));
      await refuses('self', inRound('self', 1));
      await refer('round', 'a', inRound('b'));
      await refuses('b', inRound('a'));
      await refer('round', 'b', inRound('c'));
      await refuses('c', inRound('a'));
      await refuses('c', inRound('a', 1));

      // A reference may point to an older version of itself if that does not lead back.
      await alice.putSecret('round', 'own', 'first');
      await refer('round', 'own', inRound('own', 1));
      expect(await alice.readSecret('round', 'own')).toBe('first');
      await refer('round', 'own', inRound('own', 2));
      await refuses('own', inRound('own'));
      await refuses('own', inRound('own', 4));

      // The versions that the name had before the value still exist.
      await refer('round', 'd', inRound('e'));
      await alice.putSecret('round', 'd', 'a value');
      await refuses('e', inRound('d', 1));
      await refer('round', 'e', inRound('d'));
      await alice.post(`${at('round', 'd')}:rollback`, { version: 1 }).expect(400);
      expect(await alice.readSecret('round', 'e')).toBe('a value');

      // Trashed and destroyed versions lead nowhere. If a restore closes a circle, a read of it ends.
      await refer('round', 'f', inRound('g'));
      await alice.delete(at('round', 'f')).expect(204);
      await refer('round', 'g', inRound('f'));
      await alice.request('post', `${at('round', 'f')}:restore`).expect(200);
      await alice.get(at('round', 'g')).expect(409);
      await refer('round', 'h', inRound('i'));
      await alice.post(`${at('round', 'h')}:destroy`, { versions: [1] }).expect(200);
      await refer('round', 'i', inRound('h'));
    });

    test('is searched only as far as the writer may read, so it tells nothing about other vaults', async () => {
      await alice.createVault('unseen');
      await bob.createVault('spy');
      await alice.putSecret('unseen', 'end', VALUE);
      await refer('unseen', 'reference', { vault: 'unseen', name: 'end' });
      await refer('unseen', 'back', spied('back'));
      /** The answer to a read of the last of ten references in a row that end there. */
      const probe = async (target: Target) => {
        const start = `to-${target.name}`;
        await bob.put(at('spy', `${start}-1`), to(target));
        for (let i = 2; i < 10; i += 1) {
          expect((await bob.put(at('spy', `${start}-${i}`), to(spied(`${start}-${i - 1}`)))).status).toBeLessThan(202);
        }
        return (await bob.put(at('spy', `${start}-10`), to(spied(`${start}-9`)))).status;
      };
      const probeAll = async () => {
        const statuses: number[] = [];
        for (const name of ['reference', 'end', 'nothing']) statuses.push(await probe({ vault: 'unseen', name }));
        const circle = await bob.put(at('spy', 'back'), to({ vault: 'unseen', name: 'back' }));
        return [...statuses, circle.status];
      };
      expect(await probeAll()).toEqual([201, 201, 201, 201]);
      await bob.get(at('spy', 'back')).expect(404);
      for (const granted of [
        { secrets: ['list', 'write', 'delete', 'destroy', 'manage'] },
        { secrets: ['read'], pathPrefix: 'elsewhere' },
        { secrets: ['read'], allowedCidrs: ['203.0.113.0/24'] },
      ]) {
        await grant(alice, 'unseen', 'user:bob', granted);
        expect(await probeAll()).toEqual([200, 200, 200, 200]);
      }
      for (const name of ['to-reference-10', 'back']) await bob.delete(at('spy', name)).expect(204);
      await grant(alice, 'unseen', 'user:bob', { secrets: ['read'] }).expect(200);
      expect(await probeAll()).toEqual([400, 200, 200, 400]);
    });

    test('is not written by two concurrent writes', async () => {
      await alice.createVault('at-once');
      for (const i of [1, 2, 3]) {
        const [one, other] = [`one-${i}`, `other-${i}`];
        const answers = await Promise.all([
          alice.put(at('at-once', one), to({ vault: 'at-once', name: other })),
          alice.put(at('at-once', other), to({ vault: 'at-once', name: one })),
        ]);
        expect(countStatuses(answers)).toEqual({ 201: 1, 400: 1 });
      }
    });

    test('ends with 409, however it was made', async () => {
      await given('broken');
      // The state that a writer without the check would leave.
      await query(
        system,
        `delete from secret_reference where secret_id in (select id from secret where vault_id = (select id from vault where name = 'broken'))`,
      );
      await refer('broken', 'target', { vault: 'broken', name: 'ref' });
      const refused = await alice.get(at('broken', 'ref')).expect(409);
      expect(refused.text).not.toContain(VALUE);
      expect(await recordsOf(system, refused)).toMatchObject([
        { action: 'secret.read', decision: 'deny', reason: 'conflict', rule: 'reference-depth' },
      ]);
      await alice.get(`${at('broken', 'ref')}?resolve=false`).expect(200);
    });

    test('has at most ten references, and a longer one is not followed to its end', async () => {
      await alice.createVault('long');
      await alice.putSecret('long', 'hop-10', VALUE);
      for (let i = 9; i >= 0; i -= 1) await refer('long', `hop-${i}`, hop(i + 1));
      const answer = await alice.get(at('long', 'hop-0')).expect(200);
      expect([answer.body.value, answer.headers['etag']]).toEqual([
        VALUE,
        `"${Array.from({ length: 11 }, () => 1).join('-')}"`,
      ]);
      expect(await recordsOf(system, answer)).toHaveLength(11);
      const refused = await alice.put(at('long', 'before'), to(hop(0))).expect(400);
      expect(refused.body.detail).toMatch(/longer than 10/);

      await alice.putSecret('long', 'hop-11', VALUE);
      await refer('long', 'hop-10', hop(11));
      await alice.get(at('long', 'hop-0')).expect(409);
      expect(await alice.readSecret('long', 'hop-1')).toBe(VALUE);
    });
  });
});
