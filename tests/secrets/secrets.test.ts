import { alphabets } from '@cardea/contracts/secrets/secrets';
import { sha256Hex } from '@cardea/crypto/ids';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Person } from '@cardea/testkit/person';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { at, contents, query, storedVersions, trail, untilAnswers } from './ground.ts';

const base64 = (bytes: number, fill = 0xa5) => Buffer.alloc(bytes, fill).toString('base64');

const labels = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));

inEachProfile((system, { alice }) => {
  beforeAll(async () => {
    await alice.createVault('payments');
  });

  describe('a stored value', () => {
    test('is 201 at first and 200 after that; its tag is its version, and its record names the bytes on the disk', async () => {
      await alice.createVault('tags');
      const first = await alice.put(at('tags', 's'), { value: 'one' }).expect(201);
      expect(first.body).toEqual({ name: 's', version: 1, changed: true, createdAt: expect.any(String) });
      const second = await alice.put(at('tags', 's'), { value: 'two' }).expect(200);
      expect(second.body).toMatchObject({ version: 2, changed: true });
      expect([first, second].map(({ headers }) => headers['etag'])).toEqual(['"1"', '"2"']);
      expect((await alice.get(at('tags', 's')).expect(200)).headers['etag']).toBe('"2"');
      expect((await alice.get(`${at('tags', 's')}?version=1`).expect(200)).headers['etag']).toBe('"1"');

      const rows = await query<{ version: number; ciphertext: Uint8Array }>(
        system,
        `select e.version, e.ciphertext
           from secret_version e
           join secret s on s.id = e.secret_id
           join vault v on v.id = s.vault_id
          where v.name = 'tags'
          order by e.version`,
      );
      for (const [i, answer] of [first, second].entries()) {
        const [record, ...others] = await recordsOf(system, answer);
        expect(others).toEqual([]);
        expect(record).toMatchObject({
          action: 'secret.write',
          resource: { vault: 'tags', name: 's', version: i + 1 },
          rule: 'grant:owner',
          dekVersion: 1,
          ciphertextSha256: sha256Hex(rows[i]!.ciphertext),
        });
      }
    });

    test.each([
      ['utf8', 'hunter2 ä 😀 \u0000\n'],
      ['base64', base64(300)],
    ])('as %s that equals the current one makes no version', async (encoding, value) => {
      const name = `same/${encoding}`;
      const { body: first } = await alice.put(at('payments', name), { value, encoding }).expect(201);
      const before = await contents(system);
      const again = await alice.put(at('payments', name), { value, encoding }).expect(200);
      expect(again.body).toEqual({ ...first, changed: false });
      expect(again.headers['etag']).toBe('"1"');
      expect(await contents(system)).toEqual(before);
      const [record] = await recordsOf(system, again);
      expect(record).toMatchObject({ action: 'secret.write', reason: 'unchanged', resource: { version: 1 } });
      expect(record).not.toHaveProperty('ciphertextSha256');
      expect((await alice.get(at('payments', name)).expect(200)).body).toMatchObject({ value, encoding });
    });

    test('makes a version in another encoding, with another type, or after a different value', async () => {
      const path = at('payments', 'kinds');
      await alice.put(path, { value: 'abcd' }).expect(201);
      for (const [version, body] of [
        [2, { value: Buffer.from('abcd').toString('base64'), encoding: 'base64' }],
        [3, { value: 'abcd', contentType: 'text/plain' }],
        [4, { value: 'abcd', contentType: 'text/html; charset=utf-8' }],
        [5, { value: 'abcd' }],
        [6, { value: 'abcde' }],
        [7, { value: 'abcd' }],
      ] as const) {
        const put = await alice.put(path, body).expect(200);
        expect(put.body).toMatchObject({ version, changed: true });
        const got = await alice.get(path).expect(200);
        expect(got.body).toMatchObject({ encoding: 'utf8', ...body });
        expect('contentType' in got.body).toBe('contentType' in body);
        expect(got.headers['content-type']).toBe('application/json; charset=utf-8');
      }
      for (const contentType of ['', 'text', 'text/', 'text/html\r\nX: y', 'text/html;', `text/${'x'.repeat(128)}`]) {
        await alice.put(path, { value: 'v', contentType }).expect(400);
      }
    });

    test('sent again with other fields changes the fields and makes no version', async () => {
      await alice.createVault('beside');
      const path = at('beside', 's');
      const { body: first } = await alice.put(path, { value: 'v', metadata: { team: 'a' } }).expect(201);
      system.passTime(1_000);
      const labelled = await alice.put(path, { value: 'v', metadata: { owner: 'b' } }).expect(200);
      expect(labelled.body).toEqual({ ...first, changed: false });
      const ending = await alice.put(path, { value: 'v', ttlSeconds: 3_600, maxVersions: 3 }).expect(200);
      expect(ending.body).toEqual({ ...first, changed: false, expiresAt: expect.any(String) });
      // Absent fields stay.
      await alice.put(path, { value: 'v', maxVersions: 4 }).expect(200);

      const { body } = await alice.get(path).expect(200);
      const { expiresAt } = ending.body as { expiresAt: string };
      expect(body).toMatchObject({ version: 1, createdAt: first.createdAt, metadata: { owner: 'b' }, expiresAt });
      const { body: list } = await alice.get('/vaults/beside/secrets').expect(200);
      expect(list.items).toMatchObject([
        { name: 's', version: 1, metadata: { owner: 'b' }, maxVersions: 4, expiresAt },
      ]);
      expect(await trail(system, 'beside', 'secret.write')).toEqual([
        'secret.write s 1 grant:owner',
        ...Array.from({ length: 3 }, () => 'secret.write s 1 grant:owner value unchanged'),
      ]);
      const found = await alice.get('/secrets?metadata.owner=b').expect(200);
      expect(found.body.items).toMatchObject([{ vault: 'beside', name: 's' }]);
      expect((await alice.get('/secrets?metadata.team=a').expect(200)).body.items).toEqual([]);
    });

    test.each([
      ['ASCII', { value: 'a'.repeat(8_192) }, { value: 'a'.repeat(8_193) }],
      ['letters of two bytes', { value: 'ä'.repeat(4_096) }, { value: `${'ä'.repeat(4_096)}a` }],
      ['characters of four bytes', { value: '😀'.repeat(2_048) }, { value: `${'😀'.repeat(2_048)}a` }],
      ['bytes', { value: base64(8_192), encoding: 'base64' }, { value: base64(8_193), encoding: 'base64' }],
    ])('has at most 8192 bytes: %s', async (kind, largest, tooLarge) => {
      const path = at('payments', `sizes/${kind.replaceAll(' ', '-')}`);
      const refused = await alice.put(path, tooLarge).expect(413);
      expect(refused.body).toMatchObject({ code: 'too_large', errors: [{ path: 'body.value' }] });
      expect(refused.text).not.toContain(tooLarge.value.slice(0, 8));
      expect(await recordsOf(system, refused)).toMatchObject([{ action: 'secret.write', reason: 'too_large' }]);
      await alice.get(path).expect(404);
      await alice.put(path, largest).expect(201);
      expect((await alice.get(path).expect(200)).body).toMatchObject(largest);
    });

    test.each([
      { value: 'not base64', encoding: 'base64' },
      { value: 'YQ', encoding: 'base64' },
      { value: 'Y-_=', encoding: 'base64' },
      { value: '\ud800' },
      { value: 1 },
      { value: null },
      {},
      { value: 'v', encoding: 'hex' },
      { value: 'v', version: 3 },
      { value: 'v', maxVersions: 0 },
      { value: 'v', maxVersions: 1_001 },
      { value: 'v', metadata: { a: '' } },
      { value: 'v', metadata: { '': 'a' } },
      { value: 'v', metadata: { a: null } },
      { value: 'v', metadata: ['a'] },
    ])('is refused if it or a field beside it is invalid: %j', async (body) => {
      await alice.put(at('payments', 'refused'), body).expect(400);
      await alice.get(at('payments', 'refused')).expect(404);
    });
  });

  describe('versions', () => {
    test('are as many as the vault keeps: the oldest is removed from the database, and recorded as destroyed', async () => {
      await alice.post('/vaults', { name: 'kept', maxVersions: 3 }).expect(201);
      for (let i = 1; i <= 5; i += 1) await alice.putSecret('kept', 's', `value ${i}`);
      expect(await storedVersions(system, 'kept', 's')).toEqual({ 3: true, 4: true, 5: true });
      for (const version of [1, 2]) await alice.get(`${at('kept', 's')}?version=${version}`).expect(404);
      for (const version of [3, 4, 5]) {
        expect((await alice.get(`${at('kept', 's')}?version=${version}`).expect(200)).body.value).toBe(
          `value ${version}`,
        );
      }
      expect((await trail(system, 'kept')).slice(0, 7)).toEqual([
        'secret.write s 1 grant:owner',
        'secret.write s 2 grant:owner',
        'secret.write s 3 grant:owner',
        'secret.write s 4 grant:owner',
        'secret.destroy s 1 max-versions',
        'secret.write s 5 grant:owner',
        'secret.destroy s 2 max-versions',
      ]);
    });

    test('are as many as the secret keeps, from its next value on', async () => {
      await alice.post('/vaults', { name: 'fewer', maxVersions: 3 }).expect(201);
      const path = at('fewer', 's');
      await alice.put(path, { value: '1', maxVersions: 5 }).expect(201);
      for (let i = 2; i <= 6; i += 1) await alice.putSecret('fewer', 's', `${i}`);
      expect(Object.keys(await storedVersions(system, 'fewer', 's'))).toEqual(['2', '3', '4', '5', '6']);

      await alice.patch(path, { maxVersions: 2 }).expect(200);
      await alice.putSecret('fewer', 's', '6');
      expect(Object.keys(await storedVersions(system, 'fewer', 's'))).toHaveLength(5);
      await alice.putSecret('fewer', 's', '7');
      expect(Object.keys(await storedVersions(system, 'fewer', 's'))).toEqual(['6', '7']);
      // A destroyed value is not destroyed again.
      await alice.post(`${path}:destroy`, { versions: [6] }).expect(200);
      await alice.putSecret('fewer', 's', '8');
      expect(await trail(system, 'fewer', 'secret.destroy')).toEqual([
        'secret.destroy s 1 max-versions',
        'secret.destroy s 5 max-versions versions 2 to 5',
        'secret.destroy s 6 grant:owner',
      ]);

      const { body } = await alice.patch(path, { maxVersions: null }).expect(200);
      expect(body).not.toHaveProperty('maxVersions');
      for (const value of ['9', '10']) await alice.putSecret('fewer', 's', value);
      expect(Object.keys(await storedVersions(system, 'fewer', 's'))).toEqual(['8', '9', '10']);
    });
  });

  describe('a generated value', () => {
    test.each(Object.entries(alphabets))(
      'of the alphabet %s has its characters, and is not shown',
      async (alphabet, characters) => {
        const path = at('payments', `generated/${alphabet}`);
        const made = await alice.post(`${path}:generate`, { alphabet, length: 512 }).expect(201);
        expect(made.body).toEqual({
          name: `generated/${alphabet}`,
          version: 1,
          changed: true,
          createdAt: expect.any(String),
        });
        const { value } = (await alice.get(path).expect(200)).body as { value: string };
        expect(value).toHaveLength(512);
        expect(Array.from(value).filter((character) => !characters.includes(character))).toEqual([]);
        expect(made.text).not.toContain(value);
        const [record] = await recordsOf(system, made);
        expect(record).toMatchObject({ action: 'secret.generate', ciphertextSha256: expect.any(String) });
        expect(JSON.stringify(record)).not.toContain(value);
      },
    );

    test('has 32 letters and digits by default, and is new each time', async () => {
      const path = at('payments', 'generated/plain');
      await alice.request('post', `${path}:generate`).expect(201);
      const first = await alice.readSecret('payments', 'generated/plain');
      const next = await alice.post(`${path}:generate`, { metadata: { made: 'yes' }, ttlSeconds: 60 }).expect(200);
      expect(next.headers['etag']).toBe('"2"');
      const { body } = await alice.get(path).expect(200);
      expect(body).toMatchObject({ metadata: { made: 'yes' }, expiresAt: next.body.expiresAt });
      expect(first).toMatch(/^[A-Za-z0-9]{32}$/);
      expect(body.value).not.toBe(first);
      for (const length of [8, 4_096]) await alice.post(`${path}:generate`, { length }).expect(200);
      for (const body of [{ length: 7 }, { length: 4_097 }, { length: 8.5 }, { alphabet: 'abc' }, { value: 'mine' }]) {
        await alice.post(`${path}:generate`, body).expect(400);
      }
    });

    test('is read only by callers with the right to read', async () => {
      const writer = await newApplication(system, 'writer');
      await grant(alice, 'payments', 'application:writer', { secrets: ['write'] }).expect(201);
      await writer.post(`${at('payments', 'generated/blind')}:generate`).expect(201);
      await writer.get(at('payments', 'generated/blind')).expect(403);
      expect(await alice.readSecret('payments', 'generated/blind')).toHaveLength(32);
    });
  });

  describe('a merge patch', () => {
    test('changes the given fields, removes null ones, and changes neither the value nor the version', async () => {
      await alice.createVault('patched');
      const path = at('patched', 's');
      await alice.put(path, { value: 'v', metadata: { team: 'a', owner: 'b' } }).expect(201);
      const patched = await alice
        .patch(path, { metadata: { team: null, owner: 'c', gone: null, new: 'd' }, maxVersions: 4 })
        .set('Content-Type', 'application/merge-patch+json')
        .expect(200);
      const metadata = { owner: 'c', new: 'd' };
      expect(patched.body).toMatchObject({ name: 's', version: 1, metadata, maxVersions: 4 });
      expect((await alice.get(path).expect(200)).body).toMatchObject({ version: 1, value: 'v', metadata });
      expect((await alice.get('/secrets?metadata.new=d').expect(200)).body.items).toMatchObject([{ name: 's' }]);

      const nothing = await alice.patch(path, {}).expect(200);
      expect(nothing.body).toEqual(patched.body);
      const end = new Date(system.now().getTime() + MINUTE_MS).toISOString();
      await alice.patch(path, { expiresAt: end, metadata: {} }).expect(200);
      await alice.patch(path, { ttlSeconds: 60 }).expect(200);
      const entries = await (await system.as('admin')).auditEntries({ vault: 'patched', action: 'secret.update' });
      const endInLog = `${end.slice(0, -1)}000Z`;
      expect(entries.toReversed().map(({ event }) => event.changes ?? event.reason)).toEqual([
        {
          maxVersions: { to: 4 },
          'metadata.new': { to: 'd' },
          'metadata.owner': { from: 'b', to: 'c' },
          'metadata.team': { from: 'a' },
        },
        'unchanged',
        { expiresAt: { to: endInLog } },
        { expiresAt: { from: endInLog, to: expect.any(String) } },
      ]);
    });

    test('accepts up to 64 metadata keys of 128 characters, with values of 512', async () => {
      await alice.createVault('limits');
      const path = at('limits', 's');
      await alice.put(path, { value: 'v', metadata: labels(65) }).expect(400);
      await alice.put(path, { value: 'v', metadata: labels(64) }).expect(201);
      await alice.patch(path, { metadata: { extra: 'v' } }).expect(400);
      await alice.patch(path, { metadata: { extra: 'v', k0: null } }).expect(200);
      await alice.patch(path, { metadata: { ['ä'.repeat(129)]: null, extra: null } }).expect(400);
      const long = { ['ä'.repeat(128)]: 'ö'.repeat(512), extra: null };
      const { body } = await alice.patch(path, { metadata: long }).expect(200);
      expect(Object.keys(body.metadata as object)).toHaveLength(64);
      expect(body.metadata['ä'.repeat(128)]).toBe('ö'.repeat(512));
      for (const metadata of [
        { a: 'ö'.repeat(513) },
        { a: '' },
        { a: 'b\n' },
        { 'a\u0000': 'b' },
        { a: '\udc00' },
        { a: 1 },
      ]) {
        await alice.patch(path, { metadata }).expect(400);
      }
      expect((await alice.get(path).expect(200)).body.metadata).toEqual(body.metadata);
    });

    test('is refused if it is malformed, or if there is nothing to patch', async () => {
      const path = at('payments', 'unpatched');
      await alice.patch(path, { metadata: { a: 'b' } }).expect(404);
      await alice.putSecret('payments', 'unpatched', 'v');
      const before = await contents(system);
      for (const body of [{ value: 'w' }, { metadata: null }, { maxVersions: 0 }, { version: 0 }, { name: 'other' }]) {
        await alice.patch(path, body).expect(400);
      }
      await alice.patch(path, { version: 2 }).expect(404);
      await alice.patch(path, { version: 2, expiresAt: null }).expect(404);
      await alice.request('patch', path).expect(400);
      await alice.request('patch', path).set('Content-Type', 'application/json-patch+json').send('[]').expect(415);
      expect(await contents(system)).toEqual(before);
    });
  });

  describe('a caller with the right to', () => {
    /** Every call, with the verb that it needs and its status of success. */
    const calls: [string, string, (by: Person, path: string) => PromiseLike<{ status: number }>][] = [
      ['list', '200', (by, path) => by.get(`${path}:versions`)],
      ['read', '200', (by, path) => by.get(path)],
      ['write', '200', (by, path) => by.put(path, { value: crypto.randomUUID() })],
      ['write', '200', (by, path) => by.patch(path, { metadata: { a: crypto.randomUUID() } })],
      ['write', '200', (by, path) => by.post(`${path}:generate`)],
      ['write', '200', (by, path) => by.post(`${path}:rollback`, { version: 1 })],
      ['delete', '204', (by, path) => by.delete(path)],
      ['delete', '200', (by, path) => by.request('post', `${path}:restore`)],
      ['destroy', '200', (by, path) => by.post(`${path}:destroy`, { versions: [2] })],
      ['destroy', '204', (by, path) => by.request('post', `${path}:purge`)],
    ];

    test.each(['list', 'read', 'write', 'delete', 'destroy'])(
      '%s below a path does that there, and nothing else anywhere',
      async (verb) => {
        const who = await newApplication(system, `only-${verb}`);
        await alice.createVault(`for-${verb}`);
        await grant(alice, `for-${verb}`, `application:only-${verb}`, { secrets: [verb], pathPrefix: 'apps' }).expect(
          201,
        );
        for (const name of ['apps/s', 'apps2/s']) {
          for (const value of ['1', '2']) await alice.putSecret(`for-${verb}`, name, value);
        }
        const before = await contents(system);
        const others = calls.filter(([needed]) => needed !== verb);
        for (const [, , call] of others) expect((await call(who, at(`for-${verb}`, 'apps/s'))).status).toBe(403);
        for (const [, , call] of calls) expect((await call(who, at(`for-${verb}`, 'apps2/s'))).status).toBe(404);
        for (const [, , call] of calls) expect((await call(who, at('payments', 'apps/s'))).status).toBe(404);
        expect(await contents(system)).toEqual(before);
        const denied = await (await system.as('admin')).auditEntries({ vault: `for-${verb}`, decision: 'deny' });
        expect(denied).toHaveLength(others.length + calls.length);
        for (const { event } of denied)
          expect(event.rule).toMatch(event.reason === 'access_denied' ? /^grant:secret\./ : /^grant:path$/);

        for (const [needed, status, call] of calls) {
          if (needed === verb) expect(String((await call(who, at(`for-${verb}`, 'apps/s'))).status)).toBe(status);
        }
      },
    );

    test('oversight sees that there are versions, and reads and changes none', async () => {
      const carla = await system.as('carla');
      await alice.createVault('overseen');
      await alice.putSecret('overseen', 's', 'canary-value');
      const before = await contents(system);
      for (const [needed, , call] of calls) {
        expect((await call(carla, at('overseen', 's'))).status).toBe(needed === 'list' ? 200 : 403);
      }
      expect(await contents(system)).toEqual(before);
    });
  });

  describe('while another service does not answer:', () => {
    const CANARY = 'canary-1f9a77';

    /** Every call, on a secret with two versions and one in the trash. */
    const everyCall = (vault: string): [string, () => PromiseLike<{ status: number; text: string }>][] => [
      ['get', () => alice.get(at(vault, 's'))],
      ['get unchanged', () => alice.get(at(vault, 's')).set('If-None-Match', '"2"')],
      ['get a reference', () => alice.get(at(vault, 'r'))],
      ['put', () => alice.put(at(vault, 's'), { value: 'other' })],
      ['put a new one', () => alice.put(at(vault, 'n'), { value: 'other' })],
      ['put the same', () => alice.put(at(vault, 's'), { value: CANARY })],
      ['generate', () => alice.post(`${at(vault, 's')}:generate`)],
      ['rollback', () => alice.post(`${at(vault, 's')}:rollback`, { version: 1 })],
      ['patch', () => alice.patch(at(vault, 's'), { metadata: { a: 'b' } })],
      ['delete', () => alice.delete(at(vault, 's'))],
      ['restore', () => alice.request('post', `${at(vault, 't')}:restore`)],
      ['destroy', () => alice.post(`${at(vault, 's')}:destroy`, { versions: [1] })],
      ['purge', () => alice.request('post', `${at(vault, 's')}:purge`)],
      ['versions', () => alice.get(`${at(vault, 's')}:versions`)],
      ['list', () => alice.get(`/vaults/${vault}/secrets`)],
    ];

    async function fill(vault: string): Promise<void> {
      await alice.createVault(vault);
      for (const value of [`${CANARY} before`, CANARY]) await alice.putSecret(vault, 's', value);
      const value = JSON.stringify({ $ref: { vault, name: 's' } });
      await alice.put(at(vault, 'r'), { value, contentType: 'application/vnd.cardea.reference+json' }).expect(201);
      await alice.putSecret(vault, 't', CANARY);
      await alice.delete(at(vault, 't')).expect(204);
    }

    test('kek-service: a call that opens or seals a value answers 503, and changes nothing', async () => {
      await fill('sealed');
      await system.stopService('kek');
      system.vault.deks.clear();
      const before = await contents(system);
      const needing = ['get', 'get a reference', 'put', 'put a new one', 'put the same', 'generate', 'rollback'];
      for (const [name, call] of everyCall('sealed').filter(([one]) => needing.includes(one))) {
        const { status, text } = await call();
        expect([name, status, text.includes(CANARY)]).toEqual([name, 503, false]);
      }
      expect(await contents(system)).toEqual(before);
      await system.startService('kek');
      expect(await alice.readSecret('sealed', 's')).toBe(CANARY);
    });

    test('the audit log: every call answers 503, releases nothing and changes nothing, and no sweep destroys anything', async () => {
      await fill('unaudited');
      await alice.put(at('unaudited', 'ended'), { value: CANARY, ttlSeconds: 1 }).expect(201);
      await alice.putSecret('unaudited', 'plain', CANARY);
      system.passTime(1_000);
      await system.stopService('audit');
      // Nobody knows yet that the log does not answer. Values that were opened are not released.
      const reads = [at('unaudited', 's'), at('unaudited', 'r'), `${at('unaudited', 's')}:versions`];
      for (const { status, text } of await Promise.all(reads.map((path) => alice.get(path)))) {
        expect([status, text.includes(CANARY)]).toEqual([503, false]);
      }
      const before = await contents(system);
      for (const [name, call] of everyCall('unaudited')) {
        const { status, text } = await call();
        expect([name, status, text.includes(CANARY)]).toEqual([name, 503, false]);
      }
      await expect(system.runJob('secret.sweep', {})).rejects.toMatchObject({ code: 'unavailable' });
      expect(await contents(system)).toEqual(before);

      await system.startService('audit');
      await untilAnswers(alice);
      // Values that were not released have no reader, although they were opened.
      const { body } = await alice.get(`${at('unaudited', 's')}:versions`).expect(200);
      expect(body.items.filter((version: object) => 'lastReadAt' in version)).toEqual([]);
      expect(await alice.readSecret('unaudited', 's')).toBe(CANARY);
      await system.runJob('secret.sweep', {});
      expect(await trail(system, 'unaudited', 'secret.expire')).toEqual(['secret.expire ended 1 expiry']);
      expect(await storedVersions(system, 'unaudited', 'ended')).toEqual({ 1: false });
    });
  });
});
