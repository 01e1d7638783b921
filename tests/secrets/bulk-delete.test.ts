import { expect, test } from '@jest/globals';
import { inEachProfile } from '@cardea/testkit/use-system';
import { grant } from '../access/granting.ts';
import { recordsOf } from '../identity/identity.ts';
import { addMany, at, contents, namesIn, query, reference, trail, untilAnswers } from './ground.ts';

type Item = { name: string; dependants: number };

const path = (vault: string) => `/vaults/${vault}/secrets:delete`;
/** The secrets that `addMany` adds. */
const below = (prefix: string) => Array.from({ length: 1_000 }, (_, i) => `${prefix}/${1_000 + i}`);

inEachProfile((system, { admin, alice, bob }) => {
  const NAMES = ['app', 'app-2', 'app.d', 'app/a', 'app/b/c', 'app0', 'other'];

  async function fill(vault: string): Promise<void> {
    await alice.createVault(vault);
    const secrets = NAMES.map((name) => ({ name, value: 'v' }));
    await alice.post(`/vaults/${vault}/secrets:batchWrite`, { secrets }).expect(200);
  }

  test('named secrets go into the trash in one change with a record of each, and can be restored', async () => {
    await fill('named');
    await alice.put(at('named', 'ref'), reference('named', 'app/a')).expect(201);
    await alice.put(at('named', 'gone'), reference('named', 'app/a')).expect(201);
    const answer = await alice.post(path('named'), { names: ['other', 'app/a', 'gone'] }).expect(200);
    // A reference that is deleted too does not count.
    const items = [
      { name: 'app/a', dependants: 1 },
      { name: 'gone', dependants: 0 },
      { name: 'other', dependants: 0 },
    ];
    expect(answer.body).toEqual({ items, dryRun: false });
    const records = await recordsOf(system, answer);
    expect(
      records.map(({ action, resource, rule, reason }) => [action, resource!.name, resource!.version, rule, reason]),
    ).toEqual([
      ['secret.delete', 'app/a', 1, 'grant:owner', '1 references point to it'],
      ['secret.delete', 'gone', 1, 'grant:owner', undefined],
      ['secret.delete', 'other', 1, 'grant:owner', undefined],
    ]);
    expect(await namesIn(alice, 'named')).toEqual(['app', 'app-2', 'app.d', 'app/b/c', 'app0', 'ref']);
    expect(await namesIn(alice, 'named', '?deleted=true')).toEqual(['app/a', 'gone', 'other']);
    expect(await namesIn(alice, 'named', '?q=other')).toEqual([]);
    await alice.request('post', `${at('named', 'other')}:restore`).expect(200);
    expect(await alice.readSecret('named', 'other')).toBe('v');
  });

  test('a prefix deletes the secret of that name and all below it, and nothing else', async () => {
    await fill('below');
    const answer = await alice.post(path('below'), { prefix: 'app' }).expect(200);
    expect((answer.body.items as Item[]).map(({ name }) => name)).toEqual(['app', 'app/a', 'app/b/c']);
    expect(await namesIn(alice, 'below')).toEqual(['app-2', 'app.d', 'app0', 'other']);
    expect(await trail(system, 'below', 'secret.delete')).toEqual([
      'secret.delete app 1 grant:owner',
      'secret.delete app/a 1 grant:owner',
      'secret.delete app/b/c 1 grant:owner',
    ]);
    const again = await alice.post(path('below'), { prefix: 'app' }).expect(404);
    expect(await recordsOf(system, again)).toMatchObject([
      { action: 'secret.delete', decision: 'deny', rule: 'no-such-secret', resource: { vault: 'below', name: 'app' } },
    ]);
  });

  test('a dry run gives the same answer, changes nothing, and is recorded as a dry run', async () => {
    await fill('dry');
    await alice.put(at('dry', 'ref'), reference('dry', 'app/a')).expect(201);
    await alice.put(at('dry', 'app/ref'), reference('dry', 'app/a')).expect(201);
    for (const [selection, about] of [
      [{ prefix: 'app' }, { name: 'app', count: 4 }],
      [{ names: ['other', 'app/a'] }, { count: 2 }],
    ] as const) {
      const before = await contents(system);
      const dry = await alice.post(path('dry'), { ...selection, dryRun: true }).expect(200);
      expect(await contents(system)).toEqual(before);
      const vault = { vault: 'dry', vaultId: expect.any(String) };
      expect(
        (await recordsOf(system, dry)).map(({ action, resource, rule, reason }) => ({
          action,
          resource,
          rule,
          reason,
        })),
      ).toEqual([
        { action: 'secret.delete', resource: { ...vault, ...about }, rule: 'grant:owner', reason: 'dry run' },
      ]);
      const done = await alice.post(path('dry'), selection).expect(200);
      expect(dry.body).toEqual({ ...done.body, dryRun: true });
      for (const { name } of done.body.items as Item[])
        await alice.request('post', `${at('dry', name)}:restore`).expect(200);
    }
  });

  test('if one name does not exist none is deleted, and the answer names it', async () => {
    await fill('missing');
    await alice.delete(at('missing', 'app0')).expect(204);
    const before = await contents(system);
    for (const dryRun of [false, true]) {
      for (const name of ['nowhere', 'app0']) {
        const answer = await alice.post(path('missing'), { names: ['other', 'app', name], dryRun }).expect(404);
        expect(answer.body).toMatchObject({ detail: `${name}: no such secret`, errors: [{ path: 'body.names.2' }] });
        expect(await recordsOf(system, answer)).toMatchObject([
          { action: 'secret.delete', decision: 'deny', rule: 'no-such-secret', resource: { vault: 'missing', name } },
        ]);
      }
      await alice.post(path('missing'), { prefix: 'nowhere', dryRun }).expect(404);
    }
    expect(await contents(system)).toEqual(before);
  });

  test('a right to delete below a path holds there and nowhere else, and other verbs delete nothing', async () => {
    await fill('granted');
    await grant(alice, 'granted', 'user:bob', { secrets: ['delete'], pathPrefix: 'app/b' }).expect(201);
    const before = await contents(system);
    for (const [selection, name] of [
      [{ prefix: 'app' }, 'app'],
      [{ prefix: 'app/a' }, 'app/a'],
      [{ prefix: 'app/nothing' }, 'app/nothing'],
      [{ names: ['app/b/c', 'other'] }, 'other'],
    ] as const) {
      const answer = await bob.post(path('granted'), selection).expect(404);
      expect(await recordsOf(system, answer)).toMatchObject([
        { decision: 'deny', rule: 'grant:path', resource: { vault: 'granted', name } },
      ]);
    }
    await grant(alice, 'granted', 'user:bob', { secrets: ['list', 'read', 'write', 'destroy', 'manage'] }).expect(200);
    for (const selection of [{ prefix: 'app' }, { names: ['other'] }]) {
      for (const dryRun of [false, true]) await bob.post(path('granted'), { ...selection, dryRun }).expect(403);
    }
    expect(await contents(system)).toEqual(before);
    // Only a caller who may list sees the names below a prefix. A known name they may delete.
    await grant(alice, 'granted', 'user:bob', { secrets: ['delete'], pathPrefix: 'app/b' }).expect(200);
    for (const dryRun of [false, true]) {
      const answer = await bob.post(path('granted'), { prefix: 'app/b', dryRun }).expect(403);
      expect(await recordsOf(system, answer)).toMatchObject([{ decision: 'deny', rule: 'grant:secret.list' }]);
    }
    expect(await contents(system)).toEqual(before);
    await bob.post(path('granted'), { names: ['app/b/c'], dryRun: true }).expect(200);
    await grant(alice, 'granted', 'user:bob', { secrets: ['list', 'delete'], pathPrefix: 'app/b' }).expect(200);
    const deleted = await bob.post(path('granted'), { prefix: 'app/b' }).expect(200);
    expect(await recordsOf(system, deleted)).toMatchObject([{ rule: 'grant:secret.delete, grant:secret.list' }]);
    expect(await namesIn(alice, 'granted')).toEqual(NAMES.filter((name) => name !== 'app/b/c'));
  });

  test.each<[string, object]>([
    ['names and a prefix', { names: ['a'], prefix: 'a' }],
    ['neither', {}],
    ['no name', { names: [] }],
    ['a duplicate name', { names: ['a', 'b', 'a'] }],
    ['more than a thousand names', { names: Array.from({ length: 1_001 }, (_, i) => `s${i}`) }],
    ['a prefix with an empty part', { prefix: 'a//b' }],
    ['an empty prefix', { prefix: '' }],
    ['a dry run that is not true or false', { prefix: 'a', dryRun: 'true' }],
  ])('%s is refused', async (_what, body) => {
    const answer = await alice.post(path('below'), body).expect(400);
    expect(answer.body.errors).toHaveLength(1);
  });

  test('a thousand secrets are deleted in one call, by a prefix or by the longest names; more are refused with advice', async () => {
    await alice.createVault('many');
    // The longest possible names.
    const long = ['a', 'b', 'c', 'd']
      .map((letter) => letter.repeat(128))
      .join('/')
      .slice(0, 507);
    await addMany(system, { vault: 'many', prefix: 'short', count: 1_000 });
    await addMany(system, { vault: 'many', prefix: long, count: 1_000 });

    await alice.putSecret('many', 'short/more', 'v');
    const before = await contents(system);
    for (const dryRun of [false, true]) {
      const { body } = await alice.post(path('many'), { prefix: 'short', dryRun }).expect(413);
      expect(body).toMatchObject({
        code: 'too_large',
        detail: expect.stringMatching(/more than 1000 secrets.*longer prefix/),
      });
    }
    expect(await contents(system)).toEqual(before);
    await alice.delete(at('many', 'short/more')).expect(204);

    for (const selection of [{ prefix: 'short' }, { names: below(long) }]) {
      const { body } = await alice.post(path('many'), selection).expect(200);
      expect(body.items).toHaveLength(1_000);
    }
    expect(await namesIn(alice, 'many')).toEqual([]);
    await system.vault.outbox.flush();
    expect(await query(system, 'select id from outbox')).toEqual([]);
    const filter = { vault: 'many', action: 'secret.delete', decision: 'allow' };
    const deleted: string[] = [];
    for await (const { event } of admin.newestEntries(filter)) deleted.push(event.resource!.name!);
    const count = (prefix: string) => deleted.filter((name) => name.startsWith(prefix)).length;
    expect([count(`${long}/`), count('short/1')]).toEqual([1_000, 1_000]);
  });

  test('two callers who delete the same names at once both get an answer, and each name is deleted once', async () => {
    await alice.createVault('twice');
    const names = Array.from({ length: 20 }, (_, i) => `s${i}`);
    const secrets = names.map((name) => ({ name, value: 'v' }));
    await alice.post('/vaults/twice/secrets:batchWrite', { secrets }).expect(200);
    const answers = await Promise.all([
      alice.post(path('twice'), { names }),
      alice.post(path('twice'), { names: names.toReversed() }),
    ]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 404]);
    expect(await trail(system, 'twice', 'secret.delete')).toHaveLength(21);
  });

  test('while the audit log does not answer the answer is 503, and nothing is deleted', async () => {
    await fill('unheard');
    const before = await contents(system);
    await system.stopService('audit');
    await alice.get('/auth/me').expect(503);
    for (const dryRun of [false, true]) await alice.post(path('unheard'), { prefix: 'app', dryRun }).expect(503);
    expect(await contents(system)).toEqual(before);
    await system.startService('audit');
    await untilAnswers(alice);
  });
});
