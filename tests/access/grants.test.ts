import { keyVerbs, secretVerbs } from '@cardea/contracts/grants';
import { inEachProfile } from '@cardea/testkit/use-system';
import { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from './granting.ts';

type Listed = { name: string };
const everything = { secrets: [...secretVerbs], keys: [...keyVerbs] };

/** The status of an explanation, and its rule or why there is none. */
async function explain(by: Person, principal: string, ip?: string): Promise<[number, string]> {
  const answer = await by.post('/access:explain', { principal, vault: 'asked-about', action: 'secret.read', ip });
  return [answer.status, answer.body.rule ?? answer.body.detail];
}

inEachProfile((system, { admin, alice, bob, carla }) => {
  test.each<[string, object, number]>([
    ['a duplicate verb', { secrets: ['read', 'read'] }, 400],
    ['a duplicate verb of keys', { keys: ['sign', 'verify', 'sign'] }, 400],
    ['an unknown verb', { secrets: ['peek'] }, 400],
    ['a verb in capitals', { secrets: ['READ'] }, 400],
    ['a verb for all verbs', { secrets: ['*'] }, 400],
    ['a verb of keys for secrets', { secrets: ['encrypt'] }, 400],
    ['a verb of secrets for keys', { keys: ['read'] }, 400],
    ['a verb outside a list', { secrets: 'read' }, 400],
    ['an unknown field', { secrets: ['read'], role: 'admin' }, 400],
    ['an owner that is not true or false', { owner: 'true' }, 400],
    ['a prefix that climbs', { secrets: ['read'], pathPrefix: 'apps/../db' }, 400],
    ['a prefix that ends in two slashes', { secrets: ['read'], pathPrefix: 'apps//' }, 400],
    ['two expiries', { secrets: ['read'], ttlSeconds: 60, expiresAt: '2099-01-01T00:00:00Z' }, 400],
    ['an owner for a time', { owner: true, ttlSeconds: 60 }, 400],
    ['no time at all', { secrets: ['read'], ttlSeconds: 0 }, 400],
    ['a prefix with a wildcard', { secrets: ['read'], pathPrefix: 'apps/*' }, 400],
    ['a network with host bits', { secrets: ['read'], allowedCidrs: ['10.0.0.1/8'] }, 400],
    ['an expiry that is not a time', { secrets: ['read'], expiresAt: 'never' }, 400],
  ])('a grant is refused with %s', async (what, granted, status) => {
    const vault = `refused-${what.replaceAll(' ', '-').toLowerCase()}`;
    await alice.createVault(vault);
    const { body } = await grant(alice, vault, 'user:bob', granted).expect(status);
    expect(body.code).toBe('invalid_request');
    await bob.get(`/vaults/${vault}`).expect(404);
    const [, entry] = await admin.auditEntries({ vault, decision: 'deny' });
    expect(entry!.event).toMatchObject({ action: 'grant.write', reason: 'invalid_request', actor: { name: 'alice' } });
  });

  test.each([
    ['everything', everything],
    ['reading', { secrets: ['read'] }],
    ['nothing', {}],
  ])('a ceo is granted nothing, not even %s, because only their role decides', async (what, granted) => {
    const vault = `not-to-a-ceo-${what}`;
    await alice.createVault(vault);
    const { body } = await grant(alice, vault, 'user:carla', granted).expect(409);
    expect(body).toMatchObject({ code: 'conflict', detail: expect.stringContaining('only the role decides') });
    const [entry] = await admin.auditEntries({ vault, decision: 'deny' });
    expect(entry!.event).toMatchObject({ action: 'grant.write', rule: 'role-decides', actor: { name: 'alice' } });
    expect((await alice.get(`/vaults/${vault}/grants`).expect(200)).body.items).toHaveLength(1);
  });

  test('grants of an admin take effect once they are no longer an admin', async () => {
    await alice.createVault('of-an-admin');
    await alice.putSecret('of-an-admin', 's', 'v');
    const adam = await newUser(system, 'adam', 'admin');
    await grant(alice, 'of-an-admin', 'user:adam', { secrets: ['list'] }).expect(201);
    expect(await adam.readSecret('of-an-admin', 's')).toBe('v');
    await admin.patch('/users/adam', { role: 'developer' }).expect(200);
    await adam.get('/vaults/of-an-admin/secrets').expect(200);
    await adam.get('/vaults/of-an-admin/secrets/s').expect(403);
  });

  test('an expiry in the past is refused and takes nothing away', async () => {
    await alice.createVault('ended');
    await grant(alice, 'ended', 'user:bob', { secrets: ['list'] }).expect(201);
    for (const [principal, ms] of [
      ['user:bob', -1],
      ['user:bob', 0],
      ['user:alice', -HOUR_MS],
    ] as const) {
      const expiresAt = new Date(system.now().getTime() + ms).toISOString();
      const { body } = await grant(alice, 'ended', principal, { secrets: ['read'], expiresAt }).expect(400);
      expect(body).toMatchObject({ code: 'invalid_request', detail: 'expiresAt: must be in the future' });
      const [entry] = await admin.auditEntries({ vault: 'ended', decision: 'deny' });
      expect(entry!.event).toMatchObject({
        action: 'grant.write',
        reason: 'invalid_request',
        actor: { name: 'alice' },
      });
    }
    await bob.get('/vaults/ended/secrets').expect(200);
  });

  test('a ceo writes nothing and reads no value, whatever they were granted or owned before', async () => {
    await alice.createVault('of-a-ceo');
    await alice.putSecret('of-a-ceo', 's', 'v');
    const cleo = await newUser(system, 'cleo');
    await grant(alice, 'of-a-ceo', 'user:cleo', everything).expect(201);
    const dora = await newUser(system, 'dora');
    await grant(alice, 'of-a-ceo', 'user:dora', { owner: true }).expect(201);
    await dora.putSecret('of-a-ceo', 's', 'w');
    await admin.patch('/users/cleo', { role: 'ceo' }).expect(200);
    await admin.patch('/users/dora', { role: 'ceo' }).expect(200);
    for (const ceo of [carla, cleo, await Person.signIn(system.url, 'dora', PASSWORD)]) {
      await ceo.get('/vaults/of-a-ceo/secrets').expect(200);
      await ceo.get('/vaults/of-a-ceo/secrets/s').expect(403);
      await ceo.put('/vaults/of-a-ceo/secrets/s', { value: 'x' }).expect(403);
      await grant(ceo, 'of-a-ceo', 'user:bob', { secrets: ['read'] }).expect(403);
      await ceo.delete('/vaults/of-a-ceo/grants/user:alice').expect(403);
      await ceo.post('/vaults', { name: 'of-a-ceo-too' }).expect(403);
    }
    expect(await alice.readSecret('of-a-ceo', 's')).toBe('w');
  });

  test('a grant belongs to an id: a later holder of the name gets nothing from it', async () => {
    await alice.createVault('of-an-id');
    await alice.putSecret('of-an-id', 's', 'v');
    const first = { user: await newUser(system, 'twin'), application: await newApplication(system, 'twin') };
    for (const [kind, holder] of Object.entries(first)) {
      await grant(alice, 'of-an-id', `${kind}:twin`, { secrets: ['read'] }).expect(201);
      expect(await holder.readSecret('of-an-id', 's')).toBe('v');
    }
    await admin.delete('/users/twin').expect(204);
    await admin.delete('/applications/twin').expect(204);
    const second = { user: await newUser(system, 'twin'), application: await newApplication(system, 'twin') };
    for (const [kind, holder] of Object.entries(second)) {
      await first[kind as keyof typeof first].get('/vaults/of-an-id/secrets/s').expect(401);
      await holder.get('/vaults/of-an-id/secrets/s').expect(404);
      expect((await holder.get('/vaults').expect(200)).body.items).toEqual([]);
      expect((await holder.get('/auth/me').expect(200)).body.grants).toEqual([]);
    }
    const { body } = await alice.get('/vaults/of-an-id/grants').expect(200);
    expect(body.items).toHaveLength(1);
  });

  test('a grant works until its last second and not from its expiry on', async () => {
    await alice.createVault('ending');
    await alice.putSecret('ending', 's', 'v');
    const end = Math.ceil(system.now().getTime() / 1000) * 1000 + 20_000;
    const expiresAt = new Date(end).toISOString();
    await grant(alice, 'ending', 'user:bob', { secrets: ['read'], expiresAt }).expect(201);
    const zoe = await newUser(system, 'zoe');
    await grant(alice, 'ending', 'user:zoe', { secrets: ['write'], expiresAt }).expect(201);
    const statuses = async () => [
      (await bob.get('/vaults/ending/secrets/s')).status,
      (await zoe.put('/vaults/ending/secrets/s', { value: 'v' })).status,
      (await bob.get('/vaults/ending')).status,
      ((await bob.get('/vaults?limit=500')).body.items as Listed[]).some(({ name }) => name === 'ending'),
    ];
    expect(await withinSecondFrom(end - 1_000, statuses)).toEqual([200, 200, 200, true]);
    expect(await withinSecondFrom(end, statuses)).toEqual([404, 404, 404, false]);
    const denied = await admin.auditEntries({ vault: 'ending', decision: 'deny' });
    expect(denied[0]!.event).toMatchObject({ action: 'vault.read', rule: 'grant:expired', actor: { name: 'bob' } });
  });

  test('access:explain says what the call then does, and the reason that is recorded', async () => {
    await alice.createVault('explained');
    await alice.putSecret('explained', 'apps/ci/s', 'v');
    await alice.putSecret('explained', 'db', 'v');
    const ci = await newApplication(system, 'explained-ci');
    const dan = await newUser(system, 'dan');
    const eva = await newUser(system, 'eva');
    const fay = await newUser(system, 'fay');
    await grant(alice, 'explained', 'user:bob', { secrets: ['read', 'list'], pathPrefix: 'apps/ci' }).expect(201);
    await grant(alice, 'explained', 'user:eva', { secrets: [...secretVerbs], allowedCidrs: ['10.0.0.0/8'] }).expect(
      201,
    );
    await grant(alice, 'explained', 'user:fay', { keys: [...keyVerbs] }).expect(201);
    await grant(alice, 'explained', 'application:explained-ci', { secrets: ['write'] }).expect(201);
    const asking: Record<string, Person> = {
      'user:admin': admin,
      'user:alice': alice,
      'user:bob': bob,
      'user:carla': carla,
      'user:dan': dan,
      'user:eva': eva,
      'user:fay': fay,
      'application:explained-ci': ci,
    };
    const doing: [action: string, name: string | undefined, act: (person: Person) => ReturnType<Person['get']>][] = [
      ['vault.read', undefined, (person) => person.get('/vaults/explained')],
      ['vault.manage', undefined, (person) => grant(person, 'explained', 'user:fay', { keys: [...keyVerbs] })],
      ['secret.list', undefined, (person) => person.get('/vaults/explained/secrets')],
      ['secret.read', 'apps/ci/s', (person) => person.get('/vaults/explained/secrets/apps/ci/s')],
      ['secret.read', 'db', (person) => person.get('/vaults/explained/secrets/db')],
      ['secret.write', 'apps/ci/s', (person) => person.put('/vaults/explained/secrets/apps/ci/s', { value: 'v' })],
      ['secret.write', 'db', (person) => person.put('/vaults/explained/secrets/db', { value: 'v' })],
    ];
    const outcomes = new Set<number>();
    for (const [principal, person] of Object.entries(asking)) {
      for (const [action, name, act] of doing) {
        const question = { principal, vault: 'explained', action, name, ip: '127.0.0.1' };
        // An owner gets no answer about those who have no grant.
        const asker = ['user:admin', 'user:carla', 'user:dan'].includes(principal) ? admin : alice;
        const { body: said } = await asker.post('/access:explain', question).expect(200);
        const { status, headers } = await act(person);
        const [entry] = await admin.auditEntries({ vault: 'explained', limit: '1' });
        expect(entry!.event.requestId).toBe(headers['x-request-id']);
        const denied = said.visible ? 403 : 404;
        expect([question, status, entry!.event.rule]).toEqual([question, said.allowed ? 200 : denied, said.rule]);
        outcomes.add(status);
      }
    }
    expect([...outcomes].sort((a, b) => a - b)).toEqual([200, 403, 404]);
  });

  describe('access:explain', () => {
    beforeAll(async () => {
      await alice.createVault('asked-about');
      for (const name of ['closed', 'far']) {
        await newApplication(system, name);
        await grant(alice, 'asked-about', `application:${name}`, { secrets: ['read'] }).expect(201);
      }
      for (const username of ['gil', 'hal']) {
        await newUser(system, username);
        await grant(alice, 'asked-about', `user:${username}`, { secrets: ['read'] }).expect(201);
      }
    });

    test('says no for an account that may not act: disabled, expired, far away, or with a password to change', async () => {
      const soon = new Date(system.now().getTime() + MINUTE_MS).toISOString();
      await admin.patch('/applications/far', { allowedCidrs: ['10.0.0.0/8'], expiresAt: soon }).expect(200);
      expect(await explain(alice, 'application:far', '10.1.2.3')).toEqual([200, 'grant:secret.read']);
      expect(await explain(alice, 'application:far')).toEqual([200, 'grant:secret.read']);
      expect(await explain(alice, 'application:far', '127.0.0.1')).toEqual([200, 'application-network']);
      expect(await explain(alice, 'application:closed', '127.0.0.1')).toEqual([200, 'grant:secret.read']);
      await admin.patch('/applications/closed', { disabled: true }).expect(200);
      expect(await explain(alice, 'application:closed')).toEqual([200, 'application-disabled']);
      expect(await explain(alice, 'user:gil')).toEqual([200, 'grant:secret.read']);
      await admin.patch('/users/gil', { disabled: true }).expect(200);
      expect(await explain(admin, 'user:gil')).toEqual([200, 'user-disabled']);
      await admin.patch('/users/gil', { disabled: false, expiresAt: soon }).expect(200);
      await admin.request('post', '/users/hal:resetPassword').expect(200);
      expect(await explain(alice, 'user:hal')).toEqual([200, 'must-change-password']);
      system.passTime(MINUTE_MS);
      expect(await explain(alice, 'user:gil')).toEqual([200, 'user-expired']);
      expect(await explain(alice, 'application:far', '10.1.2.3')).toEqual([200, 'application-expired']);
      const { body } = await alice
        .post('/access:explain', { principal: 'user:gil', vault: 'asked-about', action: 'secret.read' })
        .expect(200);
      expect(body).toEqual({ allowed: false, visible: false, rule: 'user-expired' });
    });

    test('tells an owner nothing about others: whether they exist, and what role they have', async () => {
      const none = await explain(alice, 'user:nobody-of-this-name');
      expect(none[0]).toBe(404);
      await newApplication(system, 'no-grant-here');
      for (const principal of [
        'user:bob',
        'user:admin',
        'user:carla',
        'application:no-grant-here',
        'application:none',
      ]) {
        expect(await explain(alice, principal)).toEqual(none);
      }
      expect(await explain(admin, 'user:carla')).toEqual([200, 'role:ceo']);
      expect(await explain(admin, 'user:nobody-of-this-name')).toEqual(none);
      const denied = await admin.auditEntries({ vault: 'asked-about', decision: 'deny', action: 'access.explain' });
      expect(new Set(denied.map(({ event }) => event.rule))).toEqual(new Set(['no-such-principal', 'no-such-grant']));
    });
  });

  /** Acts within that second of the system's clock. Repeats it if the machine was too slow. */
  async function withinSecondFrom<T>(ms: number, act: () => Promise<T>): Promise<T> {
    for (;;) {
      system.passTime(ms - system.now().getTime());
      const result = await act();
      if (system.now().getTime() < ms + 1_000) return result;
    }
  }
});
