import { useSystem } from '@cardea/testkit/use-system';
import type { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication } from '../access/granting.ts';
import { endpoints } from './served-endpoints.ts';
import { createUser, expectRecords, signIn } from '../identity/identity.ts';

type Item = Record<string, unknown>;

const lists = endpoints.filter(({ method, query }) => {
  return method === 'GET' && 'shape' in query && 'cursor' in (query.shape as object);
});

describe('a cursor of another list is refused and recorded:', () => {
  const [system, { admin }] = useSystem('mini');
  /** A list, as two vaults, two secrets, two applications and two filters have it. */
  const asked: Record<string, string[]> = {
    '/api/v1/users': ['/users?'],
    '/api/v1/applications': ['/applications?'],
    '/api/v1/applications/{name}/credentials': ['/applications/app/credentials?', '/applications/app-2/credentials?'],
    '/api/v1/auth/sessions': ['/auth/sessions?'],
    '/api/v1/vaults': ['/vaults?'],
    '/api/v1/vaults/{vault}/events': [
      '/vaults/paged/events?',
      '/vaults/paged-2/events?',
      '/vaults/paged/events?kind=secret.expired&',
    ],
    '/api/v1/events': ['/events?', '/events?kind=user.expired&'],
    '/api/v1/vaults/{vault}/grants': ['/vaults/paged/grants?', '/vaults/paged-2/grants?'],
    '/api/v1/vaults/{vault}/secrets': [
      '/vaults/paged/secrets?',
      '/vaults/paged-2/secrets?',
      '/vaults/paged/secrets?prefix=a&',
      '/vaults/paged/secrets?delimiter=/&',
      '/vaults/paged/secrets?delimiter=/&prefix=a&',
      '/vaults/paged/secrets?deleted=true&',
      '/vaults/paged/secrets?q=a&',
      '/vaults/paged/secrets?q=b&',
      '/vaults/paged/secrets?expiringBefore=2100-01-01T00:00:00Z&',
      '/vaults/paged/secrets?expiringBefore=2200-01-01T00:00:00Z&',
    ],
    '/api/v1/vaults/{vault}/keys': ['/vaults/paged/keys?', '/vaults/paged-2/keys?'],
    '/api/v1/vaults/{vault}/keys/{name}:versions': [
      '/vaults/paged/keys/k-1:versions?',
      '/vaults/paged/keys/k-2:versions?',
      '/vaults/paged-2/keys/k-1:versions?',
    ],
    '/api/v1/vaults/{vault}/secrets/{+name}:versions': [
      '/vaults/paged/secrets/a/app:versions?',
      '/vaults/paged/secrets/a/app-2:versions?',
    ],
    '/api/v1/secrets': ['/secrets?q=a&', '/secrets?q=app&', '/secrets?metadata.a=b&', '/secrets?q=a&metadata.a=b&'],
    '/api/v1/rotations': ['/rotations?'],
    '/api/v1/webhooks/deliveries': ['/webhooks/deliveries?', '/webhooks/deliveries?state=dead&'],
  };
  /** What a client may have instead of a cursor: a name, ids, versions, the bare keys of a position. */
  const bare = ['zz!!', 'alice', 'a/app', '01a2278c-8e87-73c2-b5c8-480356e69ecc', 'user:alice', 'db/', '2', 'WyJhIl0'];
  const cursors = new Map<string, string>();

  beforeAll(async () => {
    const ends = { metadata: { a: 'b' }, expiresAt: '2099-01-01T00:00:00Z' };
    for (const vault of ['paged', 'paged-2']) {
      await admin.createVault(vault);
      for (const name of ['a/app', 'a/app-2', 'a-b', 'b']) {
        for (const value of ['v', 'w']) await admin.put(`/vaults/${vault}/secrets/${name}`, { value, ...ends });
        await admin.put(`/vaults/${vault}/secrets/gone-${name.length}`, { value: 'v' });
        await admin.delete(`/vaults/${vault}/secrets/gone-${name.length}`).expect(204);
      }
      for (const name of ['k-1', 'k-2']) {
        await admin.post(`/vaults/${vault}/keys`, { name, algorithm: 'ed25519' }).expect(201);
        await admin.post(`/vaults/${vault}/keys/${name}:rotate`).expect(200);
      }
      await grant(admin, vault, 'user:alice', { secrets: ['read'] }).expect(201);
    }
    for (const name of ['app', 'app-2']) {
      await admin.post('/applications', { name }).expect(201);
      await admin.post(`/applications/${name}/credentials`, {}).expect(201);
    }
    for (const list of Object.values(asked).flat()) {
      const { body } = await admin.get(`${list}limit=1`).expect(200);
      if (body.nextCursor !== undefined) cursors.set(list, body.nextCursor as string);
    }
    // Events, rotations and deliveries are few here: their cursors are not tried, and they refuse those of the others.
    expect(cursors.size).toBeGreaterThan(15);
  });

  test('every list is asked', () => {
    const known = lists.map(({ path }) => path).filter((path) => !path.startsWith('/api/v1/audit'));
    expect(Object.keys(asked).toSorted()).toEqual([...new Set(known)].toSorted());
  });

  test.each(Object.values(asked).flat())('%s', async (list) => {
    for (const [from, cursor] of cursors) {
      const answer = await admin.get(`${list}limit=1&cursor=${cursor}`);
      expect([from, answer.status]).toEqual([from, from === list ? 200 : 400]);
    }
    for (const cursor of bare) {
      const refused = await admin.get(`${list}cursor=${encodeURIComponent(cursor)}`).expect(400);
      expect(refused.body.detail).toMatch(/^query\.cursor: is not a cursor of this list: repeat the call without it/);
      await expectRecords(system, refused, { decision: 'deny', reason: 'invalid_request' });
    }
    await admin.get(`${list}cursor=`).expect(200);
  });
});

describe.each(['mini', 'full'] as const)('a list, page by page, in profile %s:', (profile) => {
  const [system, { admin }] = useSystem(profile);

  /** Follows `nextCursor` to the end, and expects one record of each page. */
  async function pagesOf(person: { get: Person['get'] }, path: string, action: string): Promise<Item[][]> {
    const pages: Item[][] = [];
    for (let cursor = ''; ;) {
      const answer = await person
        .get(`${path}?limit=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
        .expect(200);
      const { items, nextCursor, ...rest } = answer.body as { items: Item[]; nextCursor?: string };
      expect(rest).toEqual({});
      const resource = expect.objectContaining({ count: items.length }) as never;
      await expectRecords(system, answer, { action, decision: 'allow', resource });
      pages.push(items);
      if (nextCursor === undefined) return pages;
      cursor = nextCursor;
    }
  }

  test('the grants of a vault: applications by name, then users by name', async () => {
    const alice = await system.as('alice');
    await alice.createVault('paged');
    await newApplication(system, 'paged');
    for (const username of ['z-1', 'paged', 'z.1', 'z1', 'za']) await createUser(system, { username });
    const granted = ['application:paged', 'user:alice', 'user:paged', 'user:z-1', 'user:z.1', 'user:z1', 'user:za'];
    for (const principal of granted.toReversed()) {
      if (principal !== 'user:alice') await grant(alice, 'paged', principal, { secrets: ['read'] }).expect(201);
    }
    const pages = await pagesOf(alice, '/vaults/paged/grants', 'grant.list');
    expect(pages.map((items) => items.length)).toEqual([2, 2, 2, 1]);
    expect(pages.flat().map(({ principal }) => principal)).toEqual(granted);
    expect((await alice.get('/vaults/paged/grants').expect(200)).body).toEqual({ items: pages.flat() });

    // A grant that is removed between two pages moves no item over the edge of a page.
    const { body } = await alice.get('/vaults/paged/grants?limit=3').expect(200);
    await alice.delete('/vaults/paged/grants/user:paged').expect(204);
    const rest = await alice.get(`/vaults/paged/grants?cursor=${body.nextCursor}`).expect(200);
    expect(rest.body.items.map(({ principal }: Item) => principal)).toEqual(granted.slice(3));
  });

  test('the secrets of an application, in the order of their creation', async () => {
    await admin.post('/applications', { name: 'two' }).expect(201);
    const second = await admin.post('/applications/two/credentials').expect(201);
    const whole = await admin.get('/applications/two/credentials').expect(200);
    expect(whole.body).toEqual({ items: [expect.any(Object), expect.objectContaining({ id: second.body.id })] });
    const one = await admin.get('/applications/two/credentials?limit=1').expect(200);
    expect(one.body).toEqual({ items: [whole.body.items[0]], nextCursor: expect.any(String) });
    const other = await admin.get(`/applications/two/credentials?limit=1&cursor=${one.body.nextCursor}`).expect(200);
    expect(other.body).toEqual({ items: [whole.body.items[1]] });
    expect(await pagesOf(admin, '/applications/two/credentials', 'credential.list')).toEqual([whole.body.items]);
  });

  test("the caller's sessions, newest first, all of them", async () => {
    await createUser(system, { username: 'sam', password: PASSWORD });
    await createUser(system, { username: 'sue', password: PASSWORD });
    const people = [];
    for (let i = 0; i < 5; i += 1) people.push((await signIn(system, { username: 'sam' })).person);
    await signIn(system, { username: 'sue' });
    const person = people.at(-1)!;
    const pages = await pagesOf(person, '/auth/sessions', 'session.list');
    expect(pages.map((items) => items.length)).toEqual([2, 2, 1]);
    expect(pages.flat().map(({ current }) => current)).toEqual([true, false, false, false, false]);
    const ids = pages.flat().map(({ id }) => String(id));
    expect(ids).toEqual(ids.toSorted().toReversed());
    expect(new Set(ids).size).toBe(5);
    expect((await person.get('/auth/sessions?cursor=').expect(200)).body).toEqual({ items: pages.flat() });
  });

  test.each(['/vaults/paged/grants', '/applications/two/credentials', '/auth/sessions'])(
    'a page of %s with size 0 is refused and recorded',
    async (path) => {
      for (const query of ['limit=0', 'limit=501', 'page=2']) {
        const refused = await admin.get(`${path}?${query}`).expect(400);
        await expectRecords(system, refused, { decision: 'deny', reason: 'invalid_request' });
      }
    },
  );
});
