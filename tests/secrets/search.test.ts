import { beforeAll, describe, expect, test } from '@jest/globals';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Entry, Person } from '@cardea/testkit/person';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { wordsOf, wordsOfQuery } from '@cardea/vault/secrets/listing/search-index';
import { grant, newApplication, newUser } from '../access/granting.ts';
import { query } from './ground.ts';

type Item = { name: string; prefix?: string; vault?: string; metadata: Record<string, string> };
type Answer = { items: Item[]; nextCursor?: string };

const SIZES = [1, 3, 500];

// `-` and `.` sort before a slash, digits and letters after it.
const NAMES = [
  'API_KEY',
  'apps',
  'apps-2/token',
  'apps.d/token',
  'apps/ci',
  'apps/ci-2/token',
  'apps/ci.x',
  'apps/ci/deploy/token',
  'apps/ci/token',
  'apps/ci0',
  'apps/web/api-token',
  'apps0',
  'db',
  'db/password',
  'db/replica/password',
  'db/replica/user',
  'dbPassword',
  'tokens/api/token-api',
  'z',
];

inEachProfile((system, { admin, alice, bob, carla }) => {
  beforeAll(async () => {
    await alice.createVault('listed');
    for (const name of NAMES.toReversed()) await alice.putSecret('listed', name, 'v');
    await grant(alice, 'listed', 'user:bob', { secrets: ['list'], pathPrefix: 'apps/ci' }).expect(201);
  });

  const recordOf = async (requestId: string): Promise<Entry['event']> => {
    const entries = await admin.auditEntries({ limit: '10' });
    return entries.map(({ event }) => event).find((event) => event.requestId === requestId)!;
  };

  /** Adds 5,000 hidden secrets, one every `stepMs`. The visible one expires with the last of them. */
  async function givenHidden(vault: string, stepMs: number): Promise<string> {
    await alice.createVault(vault);
    const end = system.now().getTime() + HOUR_MS;
    await query(
      system,
      `with recursive place (i) as (select 1 union all select i + 1 from place where i < 5000)
       insert into secret (id, vault_id, name, current_version, metadata, due_at, live, created_at, created_by, updated_at)
       select '${vault}-' || i, (select id from vault where name = '${vault}'),
              'apps/' || case when i % 2 = 0 then 'hidden-' else 'an-hidden-' end || i, 1, '{}',
              ${end} + ${stepMs} * i, 1, 0, 'user:x', 0
         from place`,
    );
    const late = new Date(end + 5_000 * stepMs).toISOString();
    await alice.put(`/vaults/${vault}/secrets/apps/ci/late`, { value: 'v', expiresAt: late }).expect(201);
    await grant(alice, vault, 'user:bob', { secrets: ['list'], pathPrefix: 'apps/ci' }).expect(201);
    return `/vaults/${vault}/secrets?expiringBefore=2100-01-01T00:00:00Z`;
  }

  async function expectRefused(person: Person, path: string, detail: RegExp, status = 400): Promise<void> {
    const refused = await person.get(path);
    expect([path, refused.status]).toEqual([path, status]);
    expect(refused.body.detail).toMatch(detail);
    expect(await recordOf(refused.body.requestId as string)).toMatchObject({ decision: 'deny' });
  }

  describe('a list of a vault', () => {
    test.each(['', 'a', 'apps', 'apps/', 'apps/ci', 'apps/ci/', 'db', 'db/', 'nothing', '~', 'é'])(
      'shows, page by page, all names that begin with "%s", in byte order',
      async (prefix) => {
        const names = await listed(alice, `/vaults/listed/secrets?prefix=${encodeURIComponent(prefix)}`);
        expect(names).toEqual(NAMES.filter((name) => name.startsWith(prefix)));
      },
    );

    test.each(['', 'a', 'apps', 'apps/', 'apps/ci', 'apps/ci/', 'apps/ci/deploy/', 'db', 'db/', 'nothing/', 'z'])(
      'shows the names deeper than "%s" as one item each',
      async (prefix) => {
        const path = `/vaults/listed/secrets?delimiter=/&prefix=${prefix}`;
        expect(await listed(alice, path)).toEqual(folded(NAMES, prefix));
        const visible = NAMES.filter((name) => name === 'apps/ci' || name.startsWith('apps/ci/'));
        expect(await listed(bob, path)).toEqual(folded(visible, prefix));
      },
    );

    test.each([
      'db',
      'pass',
      'api token',
      'token api',
      'TOKEN',
      'apps/ci',
      'dbPass',
      'dbpass',
      'ci-2',
      'x',
      'toke',
      'é',
    ])('shows the names with words that begin like "%s", each once', async (q) => {
      const path = `/vaults/listed/secrets?q=${encodeURIComponent(q)}`;
      const names = NAMES.filter((name) => hasWords(name, q));
      expect((await listed(alice, path)).toSorted()).toEqual(names.toSorted());
      const visible = names.filter((name) => name === 'apps/ci' || name.startsWith('apps/ci/'));
      expect((await listed(bob, path)).toSorted()).toEqual(visible.toSorted());
    });

    test('by words comes in the order of the matched words', async () => {
      expect(await listed(alice, '/vaults/listed/secrets?q=ap')).toEqual([
        'API_KEY',
        'apps/web/api-token',
        'tokens/api/token-api',
        'apps',
        'apps-2/token',
        'apps.d/token',
        'apps/ci',
        'apps/ci-2/token',
        'apps/ci.x',
        'apps/ci/deploy/token',
        'apps/ci/token',
        'apps/ci0',
        'apps0',
      ]);
    });

    test('is recorded with the number of its items, and without values', async () => {
      await alice.createVault('recorded');
      await alice.putSecret('recorded', 'a/b', 'the-value-itself');
      await alice.putSecret('recorded', 'a/c', 'the-value-itself');
      for (const [query, count] of [
        ['', 2],
        ['?delimiter=/', 1],
        ['?q=b', 1],
        ['?deleted=true', 0],
        ['?expiringBefore=2100-01-01T00:00:00Z', 0],
      ] as const) {
        const answer = await alice.get(`/vaults/recorded/secrets${query}`).expect(200);
        expect(answer.text).not.toContain('the-value-itself');
        expect(answer.body.items).toHaveLength(count);
        expect(await recordOf(answer.headers['x-request-id']!)).toMatchObject({
          action: 'secret.list',
          decision: 'allow',
          rule: 'grant:owner',
          resource: { vault: 'recorded', count },
        });
      }
    });

    test.each([
      ['q=db&prefix=a', 'query.q: cannot be combined with prefix'],
      ['q=db&delimiter=/&deleted=true', 'query.q: cannot be combined with delimiter and deleted'],
      ['q=db&expiringBefore=2100-01-01T00:00:00Z', 'query.q: cannot be combined with expiringBefore'],
      ['expiringBefore=2100-01-01T00:00:00Z&prefix=a', 'query.expiringBefore: cannot be combined with prefix'],
      ['expiringBefore=2100-01-01T00:00:00Z&deleted=true', 'query.expiringBefore: cannot be combined with deleted'],
      ['deleted=true&delimiter=/', 'query.deleted: cannot be combined with delimiter'],
      ['q=-/.', 'query.q: must contain a letter or a digit'],
      ['q=', 'query.q: must'],
      ['delimiter=.', 'query.delimiter: must be /'],
      ['deleted=yes', 'query.deleted: must be one of true, false'],
      ['expiringBefore=tomorrow', 'query.expiringBefore: must be a time in UTC'],
      ['q=db&cursor=db', 'query.cursor: is not a cursor of this list'],
      ['expiringBefore=2100-01-01T00:00:00Z&cursor=db', 'query.cursor: is not a cursor of this list'],
    ])('with %s is refused', async (query, detail) => {
      const escaped = detail.replace(/[./]/g, '\\$&');
      await expectRefused(alice, `/vaults/listed/secrets?${query}`, new RegExp(`^${escaped}`));
    });

    test('accepts no cursor of another list or of somebody else', async () => {
      const forged = [
        [0, 'db'],
        ['', '', ''],
        [''],
        { 0: '', 1: '', 2: '' },
        [-1, 'db'],
        [1.5, 'db'],
        [0, 'a\0b'],
        [0, '\ud800'],
        ['', 'a\0b', ''],
        [1, 2],
        null,
      ].map((place) => Buffer.from(JSON.stringify(place)).toString('base64url'));
      await alice.createVault('cursors');
      for (const name of ['db/1', 'db/2']) {
        await alice
          .put(`/vaults/cursors/secrets/${name}`, { value: 'v', expiresAt: '2099-01-01T00:00:00Z' })
          .expect(201);
      }
      const byWord = '/vaults/cursors/secrets?q=db&cursor=';
      const byTime = '/vaults/cursors/secrets?expiringBefore=2100-01-01T00:00:00Z&cursor=';
      const [words, due] = await Promise.all(
        [byWord, byTime].map(async (list) => {
          const { body } = await alice.get(list.replace('cursor=', 'limit=1')).expect(200);
          return body.nextCursor as string;
        }),
      );
      await alice.get(byWord + words).expect(200);
      await alice.get(byTime + due).expect(200);
      for (const cursor of [...forged, due, `${words}A`, `${words}=`, `${words}%20`]) {
        await expectRefused(alice, byWord + cursor, /^query\.cursor: is not a cursor of this list: /);
      }
      for (const cursor of [...forged, words]) {
        await expectRefused(alice, byTime + cursor, /^query\.cursor: is not a cursor of this list: /);
      }
    });

    test('continues at its position, even if earlier items have come or gone', async () => {
      await alice.createVault('moving');
      for (const name of ['b/1', 'c', 'd/1', 'd/2', 'e']) await alice.putSecret('moving', name, 'v');
      const first = (await alice.get('/vaults/moving/secrets?delimiter=/&limit=3').expect(200)).body as Answer;
      expect(first.items.map(({ name, prefix }) => name ?? prefix)).toEqual(['b/', 'c', 'd/']);
      await alice.putSecret('moving', 'a', 'v');
      await alice.putSecret('moving', 'd/3', 'v');
      await alice.putSecret('moving', 'd0', 'v');
      await alice.delete('/vaults/moving/secrets/c').expect(204);
      const rest = await alice.get(`/vaults/moving/secrets?delimiter=/&limit=3&cursor=${first.nextCursor}`).expect(200);
      expect((rest.body as Answer).items.map(({ name }) => name)).toEqual(['d0', 'e']);
    });
  });

  describe('the trash', () => {
    test('is listed with the time of each deletion, and its secrets are not found elsewhere', async () => {
      await alice.createVault('binned');
      for (const name of ['in/a', 'in/b', 'out/a', 'both/a']) {
        await alice.put(`/vaults/binned/secrets/${name}`, { value: 'v', metadata: { team: 'core' } }).expect(201);
      }
      for (const name of ['in/a', 'in/b', 'both/a']) await alice.delete(`/vaults/binned/secrets/${name}`).expect(204);
      await alice.put('/vaults/binned/secrets/both/a', { value: 'v2', metadata: { team: 'core' } });

      const trash = '/vaults/binned/secrets?deleted=true';
      expect(await listed(alice, trash)).toEqual(['both/a', 'in/a', 'in/b']);
      expect(await listed(alice, `${trash}&prefix=in/`)).toEqual(['in/a', 'in/b']);
      const { items } = (await alice.get(trash).expect(200)).body as { items: { deletedAt: string }[] };
      for (const { deletedAt } of items) {
        expect(Math.abs(Date.parse(deletedAt) - system.now().getTime())).toBeLessThan(MINUTE_MS);
      }
      for (const path of ['?', '?deleted=false', '?q=a']) {
        expect(await listed(alice, `/vaults/binned/secrets${path}&`.replace('?&', '?'))).toEqual(['both/a', 'out/a']);
      }
      expect(await listed(alice, '/secrets?metadata.team=core')).toEqual(['binned: both/a', 'binned: out/a']);
      const live = await alice.get('/vaults/binned/secrets').expect(200);
      expect(live.text).not.toContain('deletedAt');

      await alice.request('post', '/vaults/binned/secrets/in/a:restore').expect(200);
      expect(await listed(alice, trash)).toEqual(['both/a', 'in/b']);
      expect(await listed(alice, '/vaults/binned/secrets?q=in')).toEqual(['in/a']);
      expect(await listed(alice, '/secrets?metadata.team=core')).toHaveLength(3);
      await alice.request('post', '/vaults/binned/secrets/in/b:purge').expect(204);
      expect(await listed(alice, trash)).toEqual(['both/a']);
    });
  });

  describe('the list of secrets that expire before a time', () => {
    test('has the soonest first, page by page, with the expired ones, and without the trash', async () => {
      await alice.createVault('ending');
      const at = (hours: number) =>
        new Date(Math.ceil(system.now().getTime() / HOUR_MS + hours) * HOUR_MS).toISOString();
      const put = (name: string, more: object) => alice.put(`/vaults/ending/secrets/${name}`, { value: 'v', ...more });
      const times = [at(1), at(2), at(3), at(4)] as const;
      for (const [name, expiresAt] of [
        ['apps/ci/late', times[2]],
        ['b', times[1]],
        ['apps/ci/now', times[0]],
        ['a', times[1]],
        ['apps/ci0', times[1]],
        ['never-in-time', times[3]],
        ['binned', times[0]],
      ] as const) {
        await put(name, { expiresAt }).expect(201);
      }
      await put('forever', {}).expect(201);
      await alice.delete('/vaults/ending/secrets/binned').expect(204);

      expect(await listed(alice, endingBefore(times[3]))).toEqual([
        'apps/ci/now',
        'a',
        'apps/ci0',
        'b',
        'apps/ci/late',
      ]);
      expect(await listed(alice, endingBefore(times[1]))).toEqual(['apps/ci/now']);
      expect(await listed(alice, endingBefore(times[0]))).toEqual([]);
      const { items } = (await alice.get(endingBefore(times[1])).expect(200)).body as { items: object[] };
      expect(items).toEqual([expect.objectContaining({ name: 'apps/ci/now', expiresAt: times[0] })]);

      await grant(alice, 'ending', 'user:bob', { secrets: ['list'], pathPrefix: 'apps/ci' }).expect(201);
      expect(await listed(bob, endingBefore(times[3]))).toEqual(['apps/ci/now', 'apps/ci/late']);

      system.passTime(2 * HOUR_MS);
      for (const who of ['admin', 'alice', 'bob', 'carla'] as const) await system.as(who);
      expect(await listed(alice, endingBefore(times[1]))).toEqual(['apps/ci/now']);
    });
  });

  describe('the list of expiries in a vault that is visible in part', () => {
    test('has pages that may be empty, and no cursor names a hidden secret', async () => {
      const path = await givenHidden('hidden-ends', 1);
      const sizes: number[] = [];
      for (let cursor = ''; ;) {
        const { body } = await bob.get(`${path}&limit=10${cursor}`).expect(200);
        const { items, nextCursor } = body as Answer;
        sizes.push(items.length);
        if (nextCursor === undefined) break;
        expect(JSON.parse(Buffer.from(nextCursor, 'base64url').toString())).toEqual([
          expect.any(String),
          expect.any(Number),
          '',
        ]);
        cursor = `&cursor=${nextCursor}`;
      }
      expect(sizes).toEqual([0, 0, 1]);
    });

    test('shows a visible secret at once if hidden ones expire with it', async () => {
      const path = await givenHidden('same-end', 0);
      expect((await pagesOf(bob, path, 10)).map((items) => items.length)).toEqual([1]);
    });
  });

  describe('a search', () => {
    // The longest possible, with spaces at the end.
    const KEY = 'k'.repeat(128);
    const VALUE = `${'🔑'.repeat(255)}  `;
    const METADATA = { team: 'core', env: 'prod' };

    beforeAll(async () => {
      for (const vault of ['s-one', 's-two', 's-three', 's-bobs']) await alice.createVault(vault);
      const put = (vault: string, name: string, metadata: object) =>
        alice.put(`/vaults/${vault}/secrets/${name}`, { value: 'v', metadata }).expect(201);
      await put('s-one', 'search/apps/a', METADATA);
      await put('s-one', 'search/apps/b', { team: 'core' });
      await put('s-one', 'search/searching', { team: 'web' });
      await put('s-two', 'apps/ci/search', METADATA);
      await put('s-two', 'apps/ci0/search', METADATA);
      await put('s-two', 'other', METADATA);
      await put('s-three', 'search/apps', METADATA);
      await put('s-bobs', 'search/apps', { team: 'core', odd: ' 🔑 ', [KEY]: VALUE });
      await grant(alice, 's-two', 'user:bob', { secrets: ['list'], pathPrefix: 'apps/ci' }).expect(201);
      await grant(alice, 's-three', 'user:bob', { secrets: ['read', 'write'], keys: ['list'] }).expect(201);
      await grant(alice, 's-bobs', 'user:bob', { owner: true }).expect(201);
    });

    const all = [
      's-one: search/apps/a',
      's-one: search/apps/b',
      's-one: search/searching',
      's-two: apps/ci/search',
      's-two: apps/ci0/search',
      's-three: search/apps',
      's-bobs: search/apps',
    ];

    test.each([
      ['q=search', all],
      ['q=SEAR', all],
      ['q=apps%20search', all.filter((found) => found.includes('apps'))],
      ['q=searching', ['s-one: search/searching']],
      ['q=search&metadata.team=core', all.filter((found) => !found.endsWith('searching'))],
      ['q=search&metadata.team=core&metadata.env=prod', [0, 3, 4, 5].map((i) => all[i])],
      ['metadata.env=prod&metadata.team=core', [0, 3, 4].map((i) => all[i]).concat('s-two: other', all[5])],
      ['metadata.team=web', ['s-one: search/searching']],
      ['metadata.team=we', []],
      ['metadata.constructor=x', []],
      ['metadata.__proto__=x&q=search', []],
    ])('for %s finds, page by page, everything that matches all of it, in every vault', async (query, found) => {
      expect(await listed(alice, `/secrets?${query}`)).toEqual(found);
    });

    test.each([
      ['odd', ' 🔑 ', ['s-bobs: search/apps']],
      ['odd', '🔑', []],
      [KEY, VALUE, ['s-bobs: search/apps']],
      [KEY, VALUE.trimEnd(), []],
    ])(
      'finds metadata as it was written, up to its longest and with its spaces: %.10s=%.10s',
      async (key, value, found) => {
        expect(await listed(alice, `/secrets?metadata.${key}=${encodeURIComponent(value)}`)).toEqual(found);
      },
    );

    test('finds for each caller only what they may list', async () => {
      const path = '/secrets?q=search&metadata.team=core';
      const everything = await listed(alice, path);
      expect(everything).toHaveLength(6);
      expect(await listed(admin, path)).toEqual(everything);
      expect(await listed(carla, path)).toEqual(everything);
      const bobs = ['s-two: apps/ci/search', 's-bobs: search/apps'];
      expect(await listed(bob, path)).toEqual(bobs);
      expect(await listed(bob, '/secrets?q=search')).toEqual(bobs);
      expect(await listed(bob, '/secrets?metadata.team=core')).toEqual(bobs);
      expect(await listed(bob, '/secrets?q=ci0')).toEqual([]);
      expect(await listed(await newUser(system, `nobody-${system.profile}`), path)).toEqual([]);

      const application = await newApplication(system, `searcher-${system.profile}`);
      expect(await listed(application, path)).toEqual([]);
      await grant(alice, 's-one', `application:searcher-${system.profile}`, { secrets: ['list'] }).expect(201);
      expect(await listed(application, path)).toEqual(everything.slice(0, 2));
      await grant(alice, 's-one', `application:searcher-${system.profile}`, {
        secrets: ['list'],
        allowedCidrs: ['10.0.0.0/8'],
      }).expect(200);
      expect(await listed(application, path)).toEqual([]);
    });

    test('finds a name by its first 32 words and not by later ones, for every caller', async () => {
      await alice.createVault('wordy');
      const name = `wordy/${Array.from({ length: 40 }, (_, i) => `w${i}${i % 10 === 9 ? '/' : '-'}`).join('')}end`;
      await alice.put(`/vaults/wordy/secrets/${name}`, { value: 'v', metadata: { 'a"b': `c'd` } }).expect(201);
      await grant(alice, 'wordy', 'user:bob', { secrets: ['list'], pathPrefix: 'wordy' }).expect(201);
      for (const person of [alice, bob]) {
        const found = async (q: string) => listed(person, `/secrets?q=${q}`);
        expect([await found('w30'), await found('w31')]).toEqual([[`wordy: ${name}`], []]);
      }
      expect(await listed(alice, `/secrets?metadata.${encodeURIComponent('a"b')}=c'd`)).toEqual([`wordy: ${name}`]);
      const words = `select word from secret_word where name = '${name}'`;
      expect(await query(system, words)).toHaveLength(32);
    });

    test('shows what a list shows, with the vault and without values', async () => {
      const { body, text } = await alice.get('/secrets?q=searching').expect(200);
      const inVault = await alice.get('/vaults/s-one/secrets?q=searching').expect(200);
      expect(body.items).toEqual([{ vault: 's-one', ...inVault.body.items[0] }]);
      expect(body.items[0]).toMatchObject({ name: 'search/searching', version: 1, metadata: { team: 'web' } });
      expect(text).not.toContain('"value"');
    });

    test('finds a secret by its new metadata, and no longer by the old', async () => {
      await alice.put('/vaults/s-one/secrets/changing', { value: 'v', metadata: { stage: 'old', kept: 'yes' } });
      await alice.patch('/vaults/s-one/secrets/changing', { metadata: { stage: 'new' } }).expect(200);
      expect(await listed(alice, '/secrets?metadata.stage=old')).toEqual([]);
      expect(await listed(alice, '/secrets?metadata.stage=new&metadata.kept=yes')).toEqual(['s-one: changing']);
      await alice.put('/vaults/s-one/secrets/changing', { value: 'v2', metadata: {} }).expect(200);
      expect(await listed(alice, '/secrets?metadata.stage=new')).toEqual([]);
      await alice.request('post', '/vaults/s-one/secrets/changing:purge').expect(204);
      expect(await listed(alice, '/secrets?q=changing')).toEqual([]);
    });

    test('is recorded once, with the number of hits, and without the query', async () => {
      for (const [query, reason, count] of [
        ['q=searching', 'q', 1],
        ['metadata.team=web', 'metadata', 1],
        ['q=search&metadata.team=core&metadata.env=prod', 'q, metadata', 4],
      ] as const) {
        const answer = await alice.get(`/secrets?${query}`).expect(200);
        const requestId = answer.headers['x-request-id']!;
        const records = (await admin.auditEntries({ limit: '10' })).filter(
          ({ event }) => event.requestId === requestId,
        );
        expect(records).toHaveLength(1);
        const { event } = records[0]!;
        expect(event).toMatchObject({ action: 'secret.search', decision: 'allow', rule: 'grant:any', reason });
        expect(event.resource).toEqual({ count });
        expect(JSON.stringify(event)).not.toMatch(/searching|team|web|core/);
      }
      const { headers } = await carla.get('/secrets?q=search').expect(200);
      expect(await recordOf(headers['x-request-id']!)).toMatchObject({ rule: 'role:ceo', actor: { name: 'carla' } });
    });

    test.each([
      ['', 'query: must have q or metadata.<key>'],
      ['limit=5', 'query: must have q or metadata.<key>'],
      ['q=', 'query.q: must'],
      ['q=--', 'query.q: must contain a letter or a digit'],
      ['q=a&label=b', 'query: has a field "label" that is not known here'],
      ['q=a&__proto__=b', 'query: has a field "__proto__" that is not known here'],
      ['q=a&Metadata.x=b', 'query: has a field "Metadata.x" that is not known here'],
      ['metadata.=b', 'query: must have metadata keys of 1 to 128 characters'],
      ['metadata.x=', 'query: must have metadata keys of 1 to 128 characters'],
      [`metadata.${'x'.repeat(129)}=b`, 'query: must have metadata keys of 1 to 128 characters'],
      [`metadata.x=${'b'.repeat(513)}`, 'query: must have metadata keys of 1 to 128 characters'],
      [`${'123456789'.replace(/./g, 'metadata.x$&=b&')}q=a`, 'query: must have at most 8 parameters metadata.<key>'],
      ['q=a&cursor=bogus', 'query.cursor: is not a cursor of this list'],
      ['q=a&limit=501', 'query.limit: must be'],
    ])('with "%.40s" is refused', async (query, detail) => {
      await expectRefused(alice, `/secrets?${query}`, new RegExp(`^${detail.replace(/[./]/g, '\\$&')}`));
    });

    test('continues after a page that is not full, if each word is frequent and both together are rare', async () => {
      await alice.createVault('frequent');
      const db = system.openDatabase();
      try {
        const [vault] = await db.query<{ id: string }>(`select id from vault where name = 'frequent'`);
        await db.query(
          `with recursive place (i) as (select 1 union all select i + 1 from place where i < 5000)
           insert into secret (id, vault_id, name, current_version, metadata, live, created_at, created_by, updated_at)
           select 'frequent-' || i, $1, 'frequentword/' || i, 1, '{}', 1, 0, 'user:x', 0
             from place`,
          [vault!.id],
        );
        await db.query(
          `insert into secret_word (vault_id, word, name, secret_id)
           select vault_id, 'frequentword', name, id
             from secret
            where vault_id = $1`,
          [vault!.id],
        );
      } finally {
        await db.close();
      }
      await alice.putSecret('frequent', 'frequentword/x/needle', 'v');
      const pages = await pagesOf(alice, '/secrets?q=frequentword%20nee', 10);
      expect(pages.map((items) => items.map(({ name }) => name))).toEqual([[], [], ['frequentword/x/needle']]);
      // A caller who sees a part is not led through the rest, and no cursor reveals it.
      await grant(alice, 'frequent', 'user:bob', { secrets: ['list'], pathPrefix: 'frequentword/x' }).expect(201);
      expect((await pagesOf(bob, '/secrets?q=frequentword%20nee', 10)).map((items) => items.length)).toEqual([1]);
      // Nor does it reveal whether a hidden name matches the query.
      await alice.putSecret('frequent', 'hidden/unheardof', 'v');
      await grant(alice, 'frequent', 'user:bob', { secrets: ['list'], pathPrefix: 'frequentword' }).expect(200);
      for (const q of ['unheardof', 'nowhere']) {
        expect((await pagesOf(bob, `/secrets?q=${q}`, 10)).map((items) => items.length)).toEqual([0, 0, 0]);
      }
      expect((await pagesOf(alice, '/secrets?q=frequentword', 500)).map((items) => items.length)).toEqual([
        ...Array.from({ length: 10 }, () => 500),
        1,
      ]);
    });

    test('searches more than a thousand vaults', async () => {
      const db = system.openDatabase();
      try {
        await db.query(
          `with recursive place (i) as (select 1 union all select i + 1 from place where i < 2100)
           insert into vault (id, name, description, max_versions, created_at, created_by)
           select '00000000-' || i, 'many-' || i, '', 10, 0, 'user:x'
             from place`,
        );
      } finally {
        await db.close();
      }
      expect(await pagesOf(admin, '/secrets?q=searching', 10)).toEqual([
        [],
        [],
        [expect.objectContaining({ vault: 's-one', name: 'search/searching' })],
      ]);
    });
  });
});

async function pagesOf(person: Person, path: string, limit: number): Promise<Item[][]> {
  const pages: Item[][] = [];
  for (let cursor = ''; ;) {
    const { body } = await person.get(`${path}&limit=${limit}${cursor}`).expect(200);
    const { items, nextCursor } = body as Answer;
    pages.push(items);
    if (nextCursor === undefined) return pages;
    cursor = `&cursor=${encodeURIComponent(nextCursor)}`;
  }
}

/** The items, which are the same for every page size. */
async function listed(person: Person, path: string): Promise<string[]> {
  const bySize = [];
  for (const limit of SIZES) {
    const pages = await pagesOf(person, path, limit);
    for (const page of pages) expect(page.length).toBeLessThanOrEqual(limit);
    bySize.push(pages.flat().map(({ name, prefix, vault }) => (vault ? `${vault}: ${name}` : (name ?? prefix))));
  }
  for (const names of bySize) expect(names).toEqual(bySize[0]);
  return bySize[0]!;
}

function endingBefore(time: string): string {
  return `/vaults/ending/secrets?expiringBefore=${time}`;
}

function folded(names: string[], prefix: string): string[] {
  const items = names
    .filter((name) => name.startsWith(prefix))
    .map((name) => {
      const slash = name.indexOf('/', prefix.length);
      return slash < 0 ? name : name.slice(0, slash + 1);
    });
  return [...new Set(items)];
}

function hasWords(name: string, q: string): boolean {
  const words = wordsOf(name);
  return wordsOfQuery(q).every((asked) => words.some((word) => word.startsWith(asked)));
}
