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
  // A name, a uuid, a principal, a version, a folded prefix, the positions of a search and of a list by expiry.
  const cursors = {
    none: 'zz!!',
    name: 'alice',
    id: '01a2278c-8e87-73c2-b5c8-480356e69ecc',
    principal: 'user:alice',
    prefix: 'db/',
    position: Buffer.from('[7,"a","b","c"]').toString('base64url'),
  };
  // A uuid, and a position, have the form of a secret's name; a uuid has the form of any name.
  const mayBe: Record<string, (keyof typeof cursors)[]> = {
    '/api/v1/users': ['name', 'id'],
    '/api/v1/applications': ['name', 'id'],
    '/api/v1/applications/{name}/credentials': ['id'],
    '/api/v1/auth/sessions': ['id'],
    '/api/v1/vaults': ['name', 'id'],
    '/api/v1/vaults/{vault}/events': ['id'],
    '/api/v1/events': ['id'],
    '/api/v1/vaults/{vault}/grants': ['principal'],
    '/api/v1/vaults/{vault}/secrets': ['name', 'id', 'position'],
    '/api/v1/webhooks/deliveries': ['id'],
  };

  beforeAll(async () => {
    await admin.createVault('paged');
    await admin.putSecret('paged', 'app', 'v');
    await admin.post('/applications', { name: 'app' }).expect(201);
  });

  test.each(lists.map((list) => [list.path, list] as const))('%s', async (path, { action }) => {
    const url = path
      .replace('/api/v1', '')
      .replace('{vault}', 'paged')
      .replace(/\{\W?name\}/, 'app');
    const question = path === '/api/v1/secrets' ? 'q=a&cursor=' : 'cursor=';
    for (const [kind, cursor] of Object.entries(cursors)) {
      const answer = await admin.get(`${url}?${question}${encodeURIComponent(cursor)}`);
      const isRefused = !mayBe[path]?.includes(kind as keyof typeof cursors);
      expect([kind, answer.status]).toEqual([kind, isRefused ? 400 : 200]);
      if (isRefused) await expectRecords(system, answer, { action, decision: 'deny', reason: 'invalid_request' });
    }
  });

  test('a folded prefix is a cursor only of a list that folds', async () => {
    await admin.get('/vaults/paged/secrets?delimiter=/&cursor=db/').expect(200);
    await admin.get('/vaults/paged/secrets?delimiter=/&cursor=db//').expect(400);
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
    expect(one.body).toEqual({ items: [whole.body.items[0]], nextCursor: whole.body.items[0].id });
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
