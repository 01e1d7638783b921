import type { Endpoint } from '@cardea/contracts/endpoint';
import { inEachProfile } from '@cardea/testkit/use-system';
import { contentsOf } from '@cardea/testkit/contents';
import { Person } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import { PASSWORD } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { fillPath, ground, rowOf } from '../access/access-table.ts';
import { grant, newApplication } from '../access/granting.ts';
import { endpoints } from '../front-door/served-endpoints.ts';
import { countStatuses, expectRecords, recordsOf } from '../identity/identity.ts';
import { at, contents, countRecords, reference, storedVersions, trail } from './ground.ts';

type Field = 'If-Match' | 'If-None-Match';
type Write = (path: string) => ReturnType<Person['get']>;

const nameOf = ({ method, path }: Endpoint) => `${method} ${path}`;
const named = (chosen: Endpoint[]) => chosen.map((endpoint) => [nameOf(endpoint), endpoint] as const);

inEachProfile((system, { alice }) => {
  /** Every call that changes a secret, with its action in the audit log. */
  const writes: [string, string, Write][] = [
    ['PUT', 'secret.write', (path) => alice.put(path, { value: crypto.randomUUID() })],
    ['PUT of the current value', 'secret.write', (path) => alice.put(path, { value: 'three' })],
    ['PATCH', 'secret.update', (path) => alice.patch(path, { metadata: { a: crypto.randomUUID() } })],
    [':generate', 'secret.generate', (path) => alice.post(`${path}:generate`)],
    [':rollback', 'secret.rollback', (path) => alice.post(`${path}:rollback`, { version: 1 })],
    [':destroy', 'secret.destroy', (path) => alice.post(`${path}:destroy`, { versions: [1] })],
    [':move', 'secret.move', (path) => alice.post(`${path}:move`, { name: crypto.randomUUID() })],
    ['DELETE', 'secret.delete', (path) => alice.delete(path)],
    [':purge', 'secret.purge', (path) => alice.request('post', `${path}:purge`)],
  ];

  const failing: [Field, string][] = [
    ['If-Match', '"2"'],
    ['If-Match', '"1", "2", "33"'],
    ['If-None-Match', '*'],
    ['If-None-Match', '"2", W/"3"'],
  ];
  const holding: [Field, string][] = [
    ['If-Match', '*'],
    ['If-Match', '"3"'],
    ['If-Match', '"2" , "3"'],
    ['If-None-Match', '"1", W/"2"'],
  ];

  /** Makes a secret at version 3. */
  async function three(vault: string, name: string): Promise<string> {
    for (const value of ['one', 'two', 'three']) await alice.putSecret(vault, name, value);
    return at(vault, name);
  }

  test.each(writes)(
    '%s succeeds if its condition holds; otherwise it is 412, recorded, and changes nothing',
    async (name, action, write) => {
      const vault = `on-${name.replaceAll(/[^A-Za-z]/g, '').toLowerCase()}`;
      await alice.createVault(vault);
      const path = await three(vault, 's');
      const before = await contents(system);
      const answers = [];
      for (const [field, tags] of failing) {
        const answer = await write(path).set(field, tags);
        answers.push(answer);
        expect([field, tags, answer.status, answer.body.code]).toEqual([field, tags, 412, 'precondition_failed']);
      }
      const refused = { action, decision: 'deny', reason: 'precondition_failed' };
      expect(await recordsOf(system, ...answers)).toEqual(
        failing.map(([field]) => expect.objectContaining({ ...refused, rule: field.toLowerCase() })),
      );
      for (const tags of ['3', '"3', '', '*, "3"']) {
        for (const field of ['If-Match', 'If-None-Match'] as const) {
          expect([field, tags, (await write(path).set(field, tags)).status]).toEqual([field, tags, 400]);
        }
      }
      expect((await write(path).set('If-Match', 'W/"3"')).status).toBe(400);
      expect(await contents(system)).toEqual(before);

      for (const [i, [field, tags]] of holding.entries()) {
        const { status } = await write(await three(vault, `s${i}`)).set(field, tags);
        expect([field, tags, Math.floor(status / 100)]).toEqual([field, tags, 2]);
      }
    },
  );

  test('without a secret, or with one only in the trash, only a condition for its absence holds', async () => {
    await alice.createVault('absent');
    await three('absent', 'trashed');
    await alice.delete(at('absent', 'trashed')).expect(204);
    const before = await contents(system);
    for (const name of ['nothing', 'trashed']) {
      for (const tags of ['*', '"3"']) {
        await alice.put(at('absent', name), { value: 'v' }).set('If-Match', tags).expect(412);
        await alice
          .post(`${at('absent', name)}:generate`)
          .set('If-Match', tags)
          .expect(412);
      }
    }
    for (const verb of ['purge', 'restore']) {
      await alice
        .request('post', `${at('absent', 'trashed')}:${verb}`)
        .set('If-Match', '"3"')
        .expect(412);
    }
    expect(await contents(system)).toEqual(before);
    await alice.put(at('absent', 'nothing'), { value: 'v' }).set('If-None-Match', '*').expect(201);
    await alice
      .post(`${at('absent', 'trashed')}:generate`)
      .set('If-None-Match', '*')
      .expect(201);
  });

  test('an answer with the version after a change has its tag', async () => {
    await alice.createVault('tagged');
    const path = await three('tagged', 's');
    const put = await alice.put(path, { value: 'four' }).set('If-Match', '"3"').expect(200);
    const patched = await alice.patch(path, { maxVersions: 9 }).set('If-Match', put.headers['etag']!).expect(200);
    await alice.delete(path).set('If-Match', patched.headers['etag']!).expect(204);
    const restored = await alice.post(`${path}:restore`).expect(200);
    const move = alice.post(`${path}:move`, { name: 't' });
    const moved = await move.set('If-Match', restored.headers['etag']!).expect(200);
    for (const answer of [put, patched, restored, moved]) expect(answer.headers['etag']).toBe('"4"');
    await alice.get(at('tagged', 't')).set('If-None-Match', moved.headers['etag']!).expect(304);
  });

  test('of two conditions both must hold', async () => {
    await alice.createVault('both');
    const path = await three('both', 's');
    const put = (match: string, noneMatch: string) =>
      alice.put(path, { value: 'v' }).set({ 'If-Match': match, 'If-None-Match': noneMatch });
    await put('"3"', '"3"').expect(412);
    await put('"2"', '"2"').expect(412);
    await put('"3"', '"2"').expect(200);
  });

  test('of a hundred writers who know the same version one wins, and nothing is lost', async () => {
    await alice.createVault('race');
    const path = await three('race', 's');
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => alice.put(path, { value: `writer ${i}` }).set('If-Match', '"3"')),
    );
    expect(countStatuses(answers)).toEqual({ 200: 1, 412: 99 });
    expect(await storedVersions(system, 'race', 's')).toEqual({ 1: true, 2: true, 3: true, 4: true });
    const winner = answers.findIndex(({ status }) => status === 200);
    expect(await alice.readSecret('race', 's')).toBe(`writer ${winner}`);
    const told = await trail(system, 'race', 'secret.write');
    expect(told.slice(0, 3)).toEqual([1, 2, 3].map((version) => `secret.write s ${version} grant:owner`));
    expect(told.slice(3).toSorted()).toEqual([
      'secret.write s 4 grant:owner',
      ...Array.from({ length: 99 }, () => 'secret.write! s if-match precondition_failed'),
    ]);
  });

  test('of many who make the same secret if it does not exist one does', async () => {
    await alice.createVault('made');
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        alice.put(at('made', 's'), { value: `maker ${i}` }).set('If-None-Match', '*'),
      ),
    );
    expect(countStatuses(answers)).toEqual({ 201: 1, 412: 29 });
    const winner = answers.findIndex(({ status }) => status === 201);
    expect(await alice.readSecret('made', 's')).toBe(`maker ${winner}`);
    expect(await storedVersions(system, 'made', 's')).toEqual({ 1: true });
  });

  test('without a condition every writer gets a version, even beside patches and deletes', async () => {
    await alice.post('/vaults', { name: 'storm', maxVersions: 100 }).expect(201);
    const path = at('storm', 's');
    await alice.putSecret('storm', 's', 'first');
    const puts = Array.from({ length: 20 }, (_, i) => alice.put(path, { value: `${i}` }));
    const patches = Array.from({ length: 20 }, (_, i) =>
      alice.patch(path, { metadata: { [`k${i}`]: 'v' } }).expect(200),
    );
    const answers = await Promise.all(puts);
    await Promise.all(patches);
    expect(answers.map(({ body }) => body.version as number).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 2),
    );
    for (const { body } of answers.slice(0, 3)) await alice.get(`${path}?version=${body.version}`).expect(200);
    const { body } = await alice.get(path).expect(200);
    expect([body.version, Object.keys(body.metadata as object).length]).toEqual([21, 20]);
  });

  describe('a reader who has the version already', () => {
    test('gets 304 with the tag alone, without record and receipt, until there is another version', async () => {
      await alice.createVault('polled');
      const path = await three('polled', 's');
      // The first request of a token takes the Express path, the next ones the hot path.
      const reader = await Person.signIn(system.url, 'alice', PASSWORD);
      const records = await countRecords(system);
      const known = ['"3"', 'W/"3"'];
      for (const tags of known) {
        const answer = await reader.get(path).set('If-None-Match', tags).expect(304);
        expect([answer.text, answer.headers['etag']]).toEqual(['', '"3"']);
        for (const name of ['cardea-receipt', 'content-type', 'content-length'])
          expect(answer.headers).not.toHaveProperty(name);
        expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-request-id': expect.any(String) });
      }
      await reader.get(`${path}?version=1`).set('If-None-Match', '"1"').expect(304);
      expect(await countRecords(system)).toBe(records);
      expect(await trail(system, 'polled', 'secret.read')).toEqual([]);

      expect((await reader.get(path).set('If-None-Match', '"1", "2"').expect(200)).body.value).toBe('three');
      expect((await reader.get(`${path}?version=1`).set('If-None-Match', '"3"').expect(200)).body.value).toBe('one');
      await alice.putSecret('polled', 's', 'four');
      const changed = await reader.get(path).set('If-None-Match', '"3"').expect(200);
      expect([changed.body.value, changed.headers['etag']]).toEqual(['four', '"4"']);
      await reader.get(path).set('If-None-Match', '3').expect(400);
      expect(await trail(system, 'polled', 'secret.read')).toEqual([
        'secret.read s 3 grant:owner',
        'secret.read s 1 grant:owner',
        'secret.read s 4 grant:owner',
        'secret.read! s invalid_request',
      ]);
    });

    test('and guesses which it is leaves a record of each guess that is right', async () => {
      await alice.createVault('guessed');
      const path = await three('guessed', 's');
      await alice.put(at('guessed', 'ref'), reference('guessed', 's')).expect(201);
      const reader = await Person.signIn(system.url, 'alice', PASSWORD);
      const guesses = ['*', '"2", "3"', '"3", "3"', '"1", W/"3"'];
      for (const tags of guesses) {
        const answer = await reader.get(path).set('If-None-Match', tags).expect(304);
        expect([answer.text, answer.headers['etag']]).toEqual(['', '"3"']);
      }
      const shown = 'secret.read s 3 grant:owner only the version was shown';
      expect(await trail(system, 'guessed', 'secret.read')).toEqual(guesses.map(() => shown));
      await reader.get(at('guessed', 'ref')).set('If-None-Match', '*').expect(304);
      expect((await trail(system, 'guessed', 'secret.read')).slice(guesses.length).toSorted()).toEqual([
        'secret.read ref 1 grant:owner only the version was shown',
        shown,
      ]);
      const { body } = await alice.get(`${path}:versions`).expect(200);
      expect(body.items[0]).not.toHaveProperty('lastReadAt');
    });

    test('reads nothing with a condition that does not hold', async () => {
      await alice.createVault('matched');
      const path = await three('matched', 's');
      const refused = await alice.get(path).set('If-Match', '"2"').expect(412);
      expect(refused.text).not.toContain('three');
      await expectRecords(system, refused, { action: 'secret.read', decision: 'deny', rule: 'if-match' });
      await alice.get(path).set('If-Match', '"3"').expect(200);
      await alice.get(path).set({ 'If-Match': '"3"', 'If-None-Match': '"3"' }).expect(304);
    });

    test('and may not read learns nothing: the refusal is recorded, whatever they know', async () => {
      await alice.createVault('guarded');
      const path = await three('guarded', 's');
      const [writer, outsider] = [await newApplication(system, 'poller'), await newApplication(system, 'stranger')];
      await grant(alice, 'guarded', 'application:poller', { secrets: ['write'] }).expect(201);
      // Twice, because the second one takes the hot path.
      for (const tags of ['"3"', '*']) {
        for (const [who, status, rule] of [
          [writer, 403, 'grant:secret.read'],
          [outsider, 404, 'default-deny'],
        ] as const) {
          const answer = await who.get(path).set('If-None-Match', tags);
          expect([answer.status, answer.headers['etag']]).toEqual([status, undefined]);
          expect(await recordsOf(system, answer)).toMatchObject([{ action: 'secret.read', decision: 'deny', rule }]);
        }
      }
      await system.stranger.get(path).set('If-None-Match', '*').expect(401);
      await grant(alice, 'guarded', 'application:poller', { secrets: ['read'] }).expect(200);
      await writer.get(path).set('If-None-Match', '*').expect(304);
      await alice.delete('/vaults/guarded/grants/application:poller').expect(204);
      await writer.get(path).set('If-None-Match', '*').expect(404);
    });

    test('learns when it no longer exists', async () => {
      await alice.createVault('leaving');
      await three('leaving', 'destroyed');
      await alice.post(`${at('leaving', 'destroyed')}:destroy`, { versions: [3] }).expect(200);
      await alice.get(at('leaving', 'destroyed')).set('If-None-Match', '"3"').expect(410);
      await three('leaving', 'trashed');
      await alice.delete(at('leaving', 'trashed')).expect(204);
      await alice.get(at('leaving', 'trashed')).set('If-None-Match', '"3"').expect(404);
      await alice.put(at('leaving', 'ended'), { value: 'v', ttlSeconds: 5 }).expect(201);
      await alice.get(at('leaving', 'ended')).set('If-None-Match', '"1"').expect(304);
      system.passTime(5_000);
      await alice.get(at('leaving', 'ended')).set('If-None-Match', '"1"').expect(410);
    });
  });

  describe('of all endpoints', () => {
    const changing = endpoints.filter(({ method }) => method !== 'GET' && method !== 'HEAD');
    /** Bodies of calls whose row makes its body only during the call. */
    const bodies: Record<string, object> = {
      'POST /api/v1/auth/refresh': { refresh_token: 'none' },
      'POST /api/v1/auth/token': { grant_type: 'client_credentials', client_id: 'none', client_secret: 'none' },
    };

    beforeAll(async () => {
      await newApplication(system, ground.application);
      await alice.createVault(ground.vault);
      // Its public keys are there for everybody, without a token.
      await alice.patch(`/vaults/${ground.vault}`, { publicJwks: true }).expect(200);
      for (const name of [ground.secret, 'in-the-trash']) await alice.putSecret(ground.vault, name, 'theirs');
      await alice.delete(at(ground.vault, 'in-the-trash')).expect(204);
    });

    /** A body that is accepted, so that only the condition can be wrong. */
    async function call(endpoint: Endpoint, field: Field, tags: string) {
      const { method, path } = endpoint;
      const values: Record<string, string> = {
        vault: ground.vault,
        name: existingName(path),
        username: 'bob',
        principal: 'user:alice',
        id: crypto.randomUUID(),
        version: '1',
      };
      const target = fillPath(path, values);
      const body = rowOf(endpoint).body ?? bodies[nameOf(endpoint)];
      const { token } = await system.as('admin');
      const answer = await sendRequest(system.url, {
        method,
        target,
        headers: {
          Authorization: `Bearer ${token}`,
          'Content-Type': body === undefined ? undefined : 'application/json',
          [field]: tags,
        },
        body: body === undefined ? '' : JSON.stringify(body),
      });
      return { ...answer, body: JSON.parse(answer.body) as { code: string; detail: string } };
    }

    test.each(named(changing.filter(({ conditional }) => !conditional)))(
      '%s takes no condition: it is refused and recorded, and nothing is changed',
      async (_name, endpoint) => {
        const before = await everything(system);
        const answers = [];
        for (const field of ['If-Match', 'If-None-Match'] as const) {
          for (const tags of ['*', '"99"', '']) {
            const answer = await call(endpoint, field, tags);
            answers.push(answer);
            const detail = `${field}: this call takes no condition, so nothing was done`;
            expect([answer.status, answer.body]).toEqual([
              400,
              expect.objectContaining({ code: 'invalid_request', detail }),
            ]);
          }
        }
        const refused = { action: endpoint.action, decision: 'deny', reason: 'invalid_request' };
        // A signed call has no known caller, and the refusals of strangers are counted after the first.
        const recorded = endpoint.signed ? answers.slice(0, 1) : answers;
        expect(await recordsOf(system, ...answers)).toEqual(
          recorded.map(({ headers }) => expect.objectContaining({ ...refused, requestId: headers['x-request-id'] })),
        );
        expect(await everything(system)).toEqual(before);
      },
    );

    test.each(named(endpoints.filter(({ conditional }) => conditional)))(
      '%s checks its condition',
      async (_name, endpoint) => {
        const before = await everything(system);
        const answer = await call(endpoint, 'If-Match', '"99"');
        expect([answer.status, answer.body.code]).toEqual([412, 'precondition_failed']);
        expect(await everything(system)).toEqual(before);
      },
    );

    test('a call that only reads is answered in full if it has no tags', async () => {
      for (const path of ['/vaults', `/vaults/${ground.vault}`, `/vaults/${ground.vault}/secrets`]) {
        expect((await alice.get(path).set('If-None-Match', '*').expect(200)).body).not.toEqual({});
      }
    });

    test('the document says which calls take conditions, and with what results', async () => {
      const { body } = await system.stranger.get('/openapi.json').expect(200);
      for (const endpoint of endpoints) {
        const path = endpoint.path.replace(/\{[+*]/g, '{');
        const { parameters = [], responses } = body.paths[path][endpoint.method.toLowerCase()];
        const fields = (parameters as { in: string; name: string }[]).filter((one) => one.in === 'header');
        const named = fields.map(({ name }) => name).filter((name) => name.startsWith('If-'));
        const taken = endpoint.conditional ? ['If-Match', 'If-None-Match'] : [];
        expect([path, ...named]).toEqual([path, ...taken]);
        expect([path, '412' in responses]).toEqual([path, endpoint.conditional === true]);
      }
      const { responses } = body.paths['/api/v1/vaults/{vault}/secrets/{name}'].get;
      expect(responses['200'].headers).toHaveProperty('ETag');
      // What shows nothing new has no record, and so no receipt.
      const { 'Cardea-Receipt': receipt, ...others } = responses['200'].headers;
      expect(receipt).toBeDefined();
      expect(responses['304']).toEqual({ description: expect.any(String), headers: others });
    });
  });
});

/** The name of an existing object for a path. */
function existingName(path: string): string {
  if (path.startsWith('/api/v1/applications')) return ground.application;
  // A key that is not there: a call with a condition is refused before it is looked for.
  if (path.startsWith('/api/v1/vaults/{vault}/keys')) return 'a-key';
  return path.endsWith(':restore') ? 'in-the-trash' : ground.secret;
}

const tables = ['app_user', 'application', 'application_credential', 'session', 'vault', 'vault_grant'];

/** All rows that the interface changes. */
async function everything(system: TestSystem): Promise<Record<string, string[]>> {
  return { ...(await contentsOf(system, tables)), ...(await contents(system)) };
}
