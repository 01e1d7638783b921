import { TTL_SECONDS_MAX } from '@cardea/contracts/identity/users';
import { inEachProfile } from '@cardea/testkit/use-system';
import { Person } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import { PASSWORD } from '@cardea/testkit/system';
import { DAY_MS, HOUR_MS } from '@cardea/contracts/durations';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication } from './granting.ts';

// Vulnerabilities of other products, tried on this one. Each test names its advisory.

inEachProfile((system, { admin, alice, bob }) => {
  beforeAll(async () => {
    await alice.createVault('theirs');
    for (const name of ['apps/ci/token', 'apps/ci2/token', 'Apps/ci/token', 'db/password']) {
      await alice.putSecret('theirs', name, `value of ${name}`);
    }
  });

  async function credentialsOf(name: string): Promise<string[]> {
    const { body } = await admin.get(`/applications/${name}/credentials`).expect(200);
    return (body.items as { id: string }[]).map(({ id }) => id);
  }

  function create(username: string, life: object) {
    return admin.post('/users', { username, role: 'developer', password: PASSWORD, ...life });
  }

  function inMs(ms: number): string {
    return new Date(system.now().getTime() + ms).toISOString();
  }

  describe("CVE-2023-24999 (AppRole's secret of another role destroyed by its accessor)", () => {
    test('a credential is not reached by the path of another application, and still works', async () => {
      const mine = await newApplication(system, 'mine');
      const theirs = await newApplication(system, 'theirs');
      const [id] = await credentialsOf('theirs');
      await admin.delete(`/applications/mine/credentials/${id}`).expect(404);
      const [entry] = await admin.auditEntries({ action: 'credential.delete' });
      expect(entry!.event).toMatchObject({ decision: 'deny', rule: 'no-such-credential' });
      expect(await credentialsOf('theirs')).toEqual([id]);
      expect(await credentialsOf('mine')).toHaveLength(1);
      await theirs.get('/auth/me').expect(200);

      await admin.delete(`/applications/theirs/credentials/${id}`).expect(204);
      await theirs.get('/auth/me').expect(401);
      await mine.get('/auth/me').expect(200);
    });

    test('a session is not ended by the path of another user', async () => {
      const [session] = (await alice.get('/auth/sessions').expect(200)).body.items as { id: string }[];
      for (const somebody of [bob, admin]) await somebody.delete(`/auth/sessions/${session!.id}`).expect(404);
      await alice.get('/auth/me').expect(200);
    });
  });

  describe('CVE-2025-5999 and CVE-2025-64761 (a name in another case was another policy, or the root policy)', () => {
    test.each<[string, 'get' | 'put' | 'post', string, object | undefined]>([
      ['a user', 'post', '/users', { username: 'Admin', role: 'developer', password: PASSWORD }],
      ['a user with a space', 'post', '/users', { username: 'admin ', role: 'developer', password: PASSWORD }],
      [
        'a user with look-alike letters',
        'post',
        '/users',
        { username: '\u0430dmin', role: 'developer', password: PASSWORD },
      ],
      ['a role', 'post', '/users', { username: 'eve', role: 'ADMIN', password: PASSWORD }],
      ['an application', 'post', '/applications', { name: 'CI' }],
      ['a vault', 'post', '/vaults', { name: 'Theirs' }],
      ['reading a vault', 'get', '/vaults/THEIRS', undefined],
      ['a principal', 'put', '/vaults/theirs/grants/user:Bob', { secrets: ['read'] }],
      ['a kind of principal', 'put', '/vaults/theirs/grants/User:bob', { secrets: ['read'] }],
      ['a verb', 'put', '/vaults/theirs/grants/user:bob', { secrets: ['Read'] }],
      ['an action', 'post', '/access:explain', { principal: 'user:bob', vault: 'theirs', action: 'Vault.Read' }],
    ])('%s in another spelling is refused, not mapped', async (_what, method, path, body) => {
      const request = admin.request(method, path);
      const answer = await (body === undefined ? request : request.send(body));
      expect([answer.status, answer.body.code]).toEqual([400, 'invalid_request']);
    });

    test('secrets whose names differ only in case are two secrets, and a prefix covers only one of them', async () => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['read', 'list'], pathPrefix: 'apps/ci' });
      expect(await bob.readSecret('theirs', 'apps/ci/token')).toBe('value of apps/ci/token');
      for (const name of ['Apps/ci/token', 'apps/CI/token', 'APPS/CI/TOKEN', 'apps/ci2/token']) {
        await bob.get(`/vaults/theirs/secrets/${name}`).expect(404);
      }
    });
  });

  describe('CVE-2026-3605 (a policy with a wildcard reached other paths through a path that climbs)', () => {
    const secrets = '/api/v1/vaults/theirs/secrets';
    const climbing = [
      'apps/ci/../../db/password',
      'apps/ci/../ci2/token',
      'apps/ci/./../../db/password',
      'apps/ci/..',
      '../secrets',
      'apps/ci/%2e%2e/%2e%2e/db/password',
      'apps/ci/..%2f..%2fdb/password',
      'apps/ci%2f..%2f..%2fdb%2fpassword',
      'apps/ci//../../db/password',
      'apps/ci\\..\\..\\db\\password',
      'apps/ci/..;/..;/db/password',
      'apps/ci/%00',
      'apps/ci/%252e%252e/db/password',
      'apps/ci/*',
      'apps/*/token',
      'apps/ci/+',
      'apps%252fci/token',
      '*',
    ];

    test.each(climbing)('%s is refused for reading and writing, and recorded', async (name) => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['read', 'write', 'delete'], pathPrefix: 'apps/ci' });
      const headers = { Authorization: `Bearer ${bob.token}`, 'Content-Type': 'application/json' };
      const body = JSON.stringify({ value: 'overwritten' });
      const read = await sendRequest(system.url, { target: `${secrets}/${name}`, headers });
      const written = await sendRequest(system.url, { method: 'PUT', target: `${secrets}/${name}`, headers, body });
      expect([read.status, written.status]).toEqual([400, 400]);
      const { body: log } = await admin.get('/audit/entries?decision=deny&limit=2').expect(200);
      const ids = (log.items as { event: { requestId: string } }[]).map(({ event }) => event.requestId);
      expect(ids).toEqual([written.headers['x-request-id'], read.headers['x-request-id']]);
    });

    test('a slash that is encoded is a slash to a prefix: what it covers is read, what climbs out is not', async () => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['read'], pathPrefix: 'apps/ci' });
      const headers = { Authorization: `Bearer ${bob.token}` };
      const read = async (name: string) => {
        const { status, body } = await sendRequest(system.url, { target: `${secrets}/${name}`, headers });
        return [status, (JSON.parse(body) as { value?: string }).value];
      };
      for (const name of ['apps%2fci/token', 'apps%2Fci%2ftoken']) {
        expect(await read(name)).toEqual([200, 'value of apps/ci/token']);
      }
      for (const name of ['db%2Fpassword', 'apps%2Fci2%2Ftoken', 'apps%2Fci']) {
        expect(await read(name)).toEqual([404, undefined]);
      }
    });

    test('all secrets still have their values', async () => {
      for (const name of ['apps/ci/token', 'apps/ci2/token', 'Apps/ci/token', 'db/password']) {
        expect(await alice.readSecret('theirs', name)).toBe(`value of ${name}`);
      }
    });

    test('a path that climbs out of its vault or out of the interface does not lead there', async () => {
      await bob.createVault('bobs');
      const headers = { Authorization: `Bearer ${bob.token}` };
      for (const path of ['bobs/../theirs/secrets/db/password', 'bobs/secrets/../../theirs/secrets/db/password']) {
        const answer = await sendRequest(system.url, { target: `/api/v1/vaults/${path}`, headers });
        expect([400, 404]).toContain(answer.status);
        expect(answer.body).not.toContain('value of');
      }
      const out = await sendRequest(system.url, { target: '/api/v1/../../api/v1/users', headers });
      expect(out.status).toBe(404);
    });

    test.each([
      'apps/*',
      '*',
      'apps/+',
      'apps/../db',
      '..',
      '.',
      './apps',
      '/apps',
      'apps//',
      'apps//ci',
      '',
      'apps%2fci',
    ])('no grant accepts the prefix %j', async (pathPrefix) => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['read'], pathPrefix }).expect(400);
    });
  });

  describe('GHSA-xp3c-3jw3-4vcr (LIST bypassed a deny that held for all other calls)', () => {
    const around = [
      '',
      '?',
      '?prefix=apps',
      '?prefix=apps/',
      '?prefix=apps/ci',
      '?prefix=apps/ci/',
      '?prefix=db',
    ].concat(['?prefix=&cursor=&limit=500', '?limit=1&prefix=D', '?prefix=apps/ci/..']);

    test.each(around)('without the verb list there is no list: %j', async (query) => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['read', 'write', 'delete', 'destroy', 'manage'] });
      await bob.get(`/vaults/theirs/secrets${query}`).expect(403);
    });

    test.each(around)('a list with a prefix shows only what the caller may list: %j', async (query) => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['list', 'read'], pathPrefix: 'apps/ci' });
      const { body } = await bob.get(`/vaults/theirs/secrets${query}`).expect(200);
      const names = (body.items as { name: string }[]).map(({ name }) => name);
      expect(['apps/ci/token', '']).toContain(names.join());
      if (/apps|limit=500|^\??$/.test(query) && !/ci2|\.\./.test(query)) expect(names).toEqual(['apps/ci/token']);
    });

    test.each(['LIST', 'GET', 'PROPFIND', 'get'])('%s does not list a folder', async (method) => {
      await grant(alice, 'theirs', 'user:bob', { secrets: ['list'], pathPrefix: 'apps/ci' });
      const headers = { Authorization: `Bearer ${bob.token}` };
      for (const path of ['secrets/', 'secrets/apps/', 'secrets/apps/ci2/', 'secrets/db']) {
        const answer = await sendRequest(system.url, { method, target: `/api/v1/vaults/theirs/${path}`, headers });
        expect([400, 404, 405]).toContain(answer.status);
        expect(answer.body).not.toMatch(/token|password/);
      }
    });
  });

  describe('CVE-2021-32923 (a lifetime within a second of its expiry became unlimited)', () => {
    test.each<[string, unknown]>([
      ['zero', 0],
      ['negative', -1],
      ['a fraction of a second', 0.5],
      ['just below one', 0.999_999],
      ['one above the limit', TTL_SECONDS_MAX + 1],
      ['beyond the exact integers', 2 ** 53],
      ['close to the largest number', 1e308],
      ['the smallest 64-bit integer', -(2 ** 63)],
      ['a text', '60'],
      ['nothing', null],
    ])('ttlSeconds that is %s is refused', async (what, ttlSeconds) => {
      const username = `ttl-${what.replaceAll(' ', '-')}`;
      const { body } = await create(username, { ttlSeconds }).expect(400);
      expect(body.errors[0].path).toBe('body.ttlSeconds');
      await admin.get(`/users/${username}`).expect(404);
    });

    test('the longest lifetime expires, at a time that can be written', async () => {
      const { body } = await create('methuselah', { ttlSeconds: TTL_SECONDS_MAX }).expect(201);
      const years = (Date.parse(body.expiresAt as string) - system.now().getTime()) / (365.25 * DAY_MS);
      expect(years).toBeCloseTo(100, 2);
    });

    test.each([0, -1, -1_000, -DAY_MS])(
      'an expiry %d ms from now is refused for users and applications',
      async (ms) => {
        await create('past', { expiresAt: inMs(ms) }).expect(400);
        await admin.post('/applications', { name: 'past', expiresAt: inMs(ms) }).expect(400);
        await admin.patch('/users/bob', { expiresAt: inMs(ms) }).expect(400);
        await bob.get('/auth/me').expect(200);
      },
    );

    test('an expiry time and a lifetime together are refused, because they may contradict each other', async () => {
      await create('both', { ttlSeconds: 60, expiresAt: inMs(HOUR_MS) }).expect(400);
    });

    test('an expired grant grants nothing', async () => {
      for (const ms of [0, -1, -1_000]) {
        await grant(alice, 'theirs', 'user:bob', { secrets: ['read'], expiresAt: inMs(ms) });
        await bob.get('/vaults/theirs/secrets/db/password').expect(404);
      }
    });

    test('an expiry less than a second away holds, for a user, an application and a grant', async () => {
      // Made without an expiry, so that a slow machine has time to sign in. The expiry is set after that.
      await create('brief', {}).expect(201);
      const person = await Person.signIn(system.url, 'brief', PASSWORD);
      await admin.patch('/users/brief', { expiresAt: inMs(900) }).expect(200);
      const { body } = await admin.post('/applications', { name: 'brief' }).expect(201);
      const application = await Person.ofApplication(system.url, 'brief', body.clientSecret as string);
      await admin.patch('/applications/brief', { expiresAt: inMs(900) }).expect(200);
      await grant(alice, 'theirs', 'user:bob', { secrets: ['read'], expiresAt: inMs(900) });
      system.passTime(900);
      await person.get('/auth/me').expect(401);
      await system.stranger.post('/auth/login', { username: 'brief', password: PASSWORD }).expect(401);
      await application.get('/auth/me').expect(401);
      await bob.get('/vaults/theirs/secrets/db/password').expect(404);
      const rules = (await admin.auditEntries({ decision: 'deny', limit: '4' })).map(({ event }) => event.rule);
      expect(rules).toEqual(['grant:expired', 'application-expired', 'user-expired', 'user-expired']);
    });

    test('a lifetime of one second is over after one second', async () => {
      const { body } = await create('mayfly', { ttlSeconds: 1 }).expect(201);
      expect(Date.parse(body.expiresAt as string) - system.now().getTime()).toBeLessThanOrEqual(1_000);
      system.passTime(1_000);
      await system.stranger.post('/auth/login', { username: 'mayfly', password: PASSWORD }).expect(401);
    });
  });
});
