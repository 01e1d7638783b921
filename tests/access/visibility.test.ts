import { secretVerbs } from '@cardea/contracts/grants';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Stranger } from '@cardea/testkit/person';
import { expect, test } from '@jest/globals';
import { grant } from './granting.ts';

type Listed = { name: string };

const END_MS = 20_000;

inEachProfile((system, { admin, alice, bob, carla }) => {
  test('a list of vaults shows what the caller may see, page by page, and no cursor names another vault', async () => {
    const grants: Record<string, object | undefined> = {
      a: undefined,
      b: { secrets: ['read'] },
      c: {},
      d: { keys: ['verify'] },
      e: { secrets: ['read'], expiresAt: new Date(system.now().getTime() + END_MS).toISOString() },
      f: { secrets: ['read'], allowedCidrs: ['10.0.0.0/8'] },
      g: { owner: true },
      h: { secrets: [...secretVerbs], allowedCidrs: ['10.0.0.0/8'] },
      i: { secrets: ['list'], pathPrefix: 'apps' },
      j: undefined,
    };
    for (const [name, granted] of Object.entries(grants)) {
      await alice.createVault(`list-${name}`);
      if (granted) await grant(alice, `list-${name}`, 'user:bob', granted).expect(201);
    }
    system.passTime(END_MS);
    const seen = ['list-b', 'list-d', 'list-g', 'list-i'];
    const pages = await pagesOf(bob, '/vaults');
    expect(pages.flatMap(({ items }) => items.map(({ name }) => name))).toEqual(seen);
    expect(pages.map(({ nextCursor }) => keysOf(nextCursor))).toEqual([['list-b'], ['list-d'], ['list-g'], undefined]);

    for (const name of Object.keys(grants)) {
      await bob.get(`/vaults/list-${name}`).expect(seen.includes(`list-${name}`) ? 200 : 404);
    }
    for (const overseer of [admin, carla]) {
      const { body } = await overseer.get('/vaults?limit=500').expect(200);
      const listed = (body.items as Listed[]).map(({ name }) => name);
      expect(listed.filter((name) => name.startsWith('list-'))).toEqual(
        Object.keys(grants).map((name) => `list-${name}`),
      );
    }
  });

  test('a list of secrets shows what the prefix of a grant covers, page by page, and no cursor names another secret', async () => {
    await alice.createVault('prefixed');
    const covered = ['apps/ci', 'apps/ci/a', 'apps/ci/b/c', 'apps/ci/d'];
    const hidden = [
      'Apps/ci',
      'apps',
      'apps/CI/a',
      'apps/ci-2',
      'apps/ci.d',
      'apps/ci2',
      'apps/ci2/a',
      'apps/cz',
      'zz',
    ];
    for (const name of [...hidden, ...covered]) await alice.putSecret('prefixed', name, 'v');
    await grant(alice, 'prefixed', 'user:bob', { secrets: ['list', 'read'], pathPrefix: 'apps/ci' }).expect(201);

    for (const limit of [1, 2, 4, 500]) {
      const pages = await pagesOf(bob, '/vaults/prefixed/secrets', limit);
      expect(pages.flatMap(({ items }) => items.map(({ name }) => name))).toEqual(covered);
      expect(pages).toHaveLength(Math.ceil(covered.length / limit));
      const shown = JSON.stringify(pages.map((page) => [page, keysOf(page.nextCursor)]));
      for (const name of hidden) expect(shown).not.toContain(`"${name}"`);
    }
    for (const query of ['prefix=zz', 'prefix=apps/ci2', 'prefix=Apps']) {
      expect([query, await namesOf(bob, `/vaults/prefixed/secrets?${query}`)]).toEqual([query, []]);
    }
    for (const query of ['prefix=', 'prefix=a', 'prefix=apps', 'prefix=apps/ci']) {
      expect([query, await namesOf(bob, `/vaults/prefixed/secrets?${query}`)]).toEqual([query, covered]);
    }
    for (const name of covered) await bob.get(`/vaults/prefixed/secrets/${name}`).expect(200);
    for (const name of hidden) await bob.get(`/vaults/prefixed/secrets/${name}`).expect(404);
    const [entry] = await admin.auditEntries({ vault: 'prefixed', action: 'secret.list' });
    expect(entry!.event.resource).toMatchObject({ vault: 'prefixed', count: covered.length });
  });

  test('an answer does not distinguish what does not exist from what the caller may not see', async () => {
    await alice.createVault('secretive');
    await alice.putSecret('secretive', 'apps/ci/there', 'v');
    await alice.putSecret('secretive', 'db/there', 'v');

    for (const [method, path, body] of [
      ['get', ''],
      ['get', '/secrets'],
      ['get', '/secrets/db/there'],
      ['put', '/secrets/db/there', { value: 'v' }],
      ['get', '/grants'],
      ['put', '/grants/user:bob', { owner: true }],
      ['delete', '/grants/user:alice'],
    ] as const) {
      const theirs = await ask(bob, method, `/vaults/secretive${path}`, body);
      expect(theirs).toMatchObject({ status: 404, code: 'not_found' });
      expect(theirs).toEqual(await ask(bob, method, `/vaults/not-there${path}`, body));
    }
    expect(await ask(bob, 'post', '/access:explain', question('secretive'))).toMatchObject({ status: 404 });
    expect(await ask(bob, 'post', '/access:explain', question('secretive'))).toEqual(
      await ask(bob, 'post', '/access:explain', question('not-there')),
    );

    await grant(alice, 'secretive', 'user:bob', { secrets: ['read', 'write'], pathPrefix: 'apps/ci' }).expect(201);
    for (const [method, body] of [['get'], ['put', { value: 'v' }]] as const) {
      const theirs = await ask(bob, method, '/vaults/secretive/secrets/db/there', body);
      expect(theirs).toMatchObject({ status: 404, code: 'not_found' });
      expect(theirs).toEqual(await ask(bob, method, '/vaults/secretive/secrets/db/not-there', body));
    }
    await grant(alice, 'secretive', 'user:bob', { secrets: ['list'], pathPrefix: 'apps/ci' }).expect(200);
    const there = await ask(bob, 'get', '/vaults/secretive/secrets/apps/ci/there');
    expect(there).toMatchObject({ status: 403, code: 'access_denied' });
    expect(there).toEqual(await ask(bob, 'get', '/vaults/secretive/secrets/apps/ci/not-there'));
  });
});

/** Every page of a list, with one item each unless stated otherwise. */
async function pagesOf(reader: Stranger, path: string, limit = 1) {
  const pages: { items: Listed[]; nextCursor?: string }[] = [];
  for (let cursor: string | undefined; pages.length === 0 || cursor !== undefined; cursor = pages.at(-1)!.nextCursor) {
    const more = cursor === undefined ? '' : `&cursor=${cursor}`;
    pages.push((await reader.get(`${path}?limit=${limit}${more}`).expect(200)).body);
  }
  return pages;
}

/** The keys in a cursor, without the list that it belongs to. */
function keysOf(cursor: string | undefined): unknown[] | undefined {
  if (cursor === undefined) return undefined;
  return (JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]).slice(1);
}

async function namesOf(reader: Stranger, path: string): Promise<string[]> {
  const { body } = await reader.get(path).expect(200);
  return (body.items as Listed[]).map(({ name }) => name);
}

/** The answer to a caller without the right: a problem, without the id of the request. */
async function ask(by: Stranger, method: 'get' | 'put' | 'post' | 'delete', path: string, body?: object) {
  const answer = await (body === undefined ? by.request(method, path) : by.request(method, path).send(body));
  const { requestId, ...problem } = answer.body as Record<string, unknown>;
  expect(requestId).toBe(answer.headers['x-request-id']);
  return problem;
}

function question(vault: string) {
  return { principal: 'user:bob', action: 'vault.read', vault };
}
