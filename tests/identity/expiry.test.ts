import type { VaultEvent } from '@cardea/contracts/events';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { jobHandlers } from '@cardea/vault/jobs';
import { Person } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { inEachProfile } from '@cardea/testkit/use-system';
import { afterEach, describe, expect, test } from '@jest/globals';
import { grant, newApplication, newUser } from '../access/granting.ts';
import { expectEventually } from '../access/probes.ts';
import { at, eventsOf, query } from '../secrets/ground.ts';
import { signIn } from './identity.ts';

const SWEEPS = ['user.sweep', 'application.sweep', 'grant.sweep'] as const;
const SOON_MS = MINUTE_MS;
const inText = (ms: number) => new Date(ms).toISOString();

inEachProfile((system) => {
  afterEach(() => system.startClock());

  const soon = (ms = SOON_MS) => system.now().getTime() + ms;

  /** What `ask` answers one millisecond before the expiry, and at the very millisecond. */
  async function atTheEdge<T>(expiresAt: number, ask: () => Promise<T>): Promise<{ before: T; after: T }> {
    system.stopClock(expiresAt - 1);
    const before = await ask();
    system.stopClock(expiresAt);
    return { before, after: await ask() };
  }

  /** A vault of alice with one secret. */
  async function vaultWithSecret(name: string): Promise<string> {
    const alice = await system.as('alice');
    await alice.createVault(name);
    await alice.putSecret(name, 's', 'v');
    return at(name, 's');
  }

  async function sweepAll(): Promise<void> {
    for (const name of SWEEPS) await system.runJob(name, {});
  }

  async function rulesOf(filter: Record<string, string>): Promise<string[]> {
    const entries = await (await system.as('admin')).auditEntries(filter);
    return entries.map(({ event }) => `${event.action} ${event.rule}`).toReversed();
  }

  async function systemEvents(): Promise<VaultEvent[]> {
    const { body } = await (await system.as('admin')).get('/events?limit=500').expect(200);
    return body.items as VaultEvent[];
  }

  describe('from the millisecond of its expiry on, and not one before,', () => {
    test('a user is refused, with a token and with the password', async () => {
      const expiresAt = soon();
      const admin = await system.as('admin');
      const user = { username: 'ursula', role: 'developer', password: PASSWORD, expiresAt: inText(expiresAt) };
      await admin.post('/users', user).expect(201);
      const person = await Person.signIn(system.url, 'ursula', PASSWORD);
      await person.createVault('of-ursula');
      await person.putSecret('of-ursula', 's', 'v');
      const login = () => system.stranger.post('/auth/login', { username: 'ursula', password: PASSWORD });
      const ask = async () => [
        (await person.get('/auth/me')).status,
        (await person.get(at('of-ursula', 's'))).status,
        (await login()).status,
      ];
      expect(await atTheEdge(expiresAt, ask)).toEqual({ before: [200, 200, 200], after: [401, 401, 401] });
      const denied = await rulesOf({ actor: 'ursula', decision: 'deny' });
      expect(denied).toEqual(['auth.me user-expired', 'secret.read user-expired']);
      expect((await rulesOf({ action: 'auth.login', decision: 'deny' })).at(-1)).toBe('auth.login user-expired');
    });

    test('a session is refused, and so is its refresh token', async () => {
      const { person, refreshToken } = await signIn(system, { username: 'bob' });
      const expiresAt = soon();
      await query(
        system,
        `update session set expires_at = $1
          where id = (select session_id from refresh_token order by created_at desc, session_id desc limit 1)`,
        [expiresAt],
      );
      let token = refreshToken;
      const ask = async () => {
        const refreshed = await system.stranger.post('/auth/refresh', { refresh_token: token });
        token = (refreshed.body.refresh_token as string | undefined) ?? token;
        return [(await person.get('/auth/me')).status, refreshed.status];
      };
      expect(await atTheEdge(expiresAt, ask)).toEqual({ before: [200, 200], after: [401, 401] });
      const denied = await rulesOf({ actor: 'bob', decision: 'deny' });
      expect(denied).toEqual(['auth.refresh session-expired', 'auth.me session-expired']);
    });

    test('an application is refused, with a token and with its secret', async () => {
      const expiresAt = soon();
      const path = await vaultWithSecret('for-robot');
      const admin = await system.as('admin');
      const made = await admin.post('/applications', { name: 'robot', expiresAt: inText(expiresAt) }).expect(201);
      const secret = made.body.clientSecret as string;
      await grant(await system.as('alice'), 'for-robot', 'application:robot', { secrets: ['read'] }).expect(201);
      const robot = await Person.ofApplication(system.url, 'robot', secret);
      const ask = async () => [(await robot.get(path)).status, await tokenStatus('robot', secret)];
      expect(await atTheEdge(expiresAt, ask)).toEqual({ before: [200, 200], after: [401, 401] });
      const denied = await rulesOf({ actor: 'robot', decision: 'deny' });
      expect(denied).toEqual(['secret.read application-expired', 'auth.token application-expired']);
    });

    test('a credential is refused, and so are its tokens, while the other credential stays valid', async () => {
      const admin = await system.as('admin');
      const path = await vaultWithSecret('for-agent');
      const made = await admin.post('/applications', { name: 'agent' }).expect(201);
      await grant(await system.as('alice'), 'for-agent', 'application:agent', { secrets: ['read'] }).expect(201);
      const expiresAt = soon();
      const second = await admin.post('/applications/agent/credentials', { expiresAt: inText(expiresAt) }).expect(201);
      expect(second.body.expiresAt).toBe(inText(expiresAt));
      const [first, secret] = [made.body.clientSecret as string, second.body.clientSecret as string];
      const agent = await Person.ofApplication(system.url, 'agent', secret);
      const ask = async () => [
        (await agent.get(path)).status,
        await tokenStatus('agent', secret),
        await tokenStatus('agent', first),
      ];
      expect(await atTheEdge(expiresAt, ask)).toEqual({ before: [200, 200, 200], after: [401, 401, 200] });
      const denied = await rulesOf({ actor: 'agent', decision: 'deny' });
      expect(denied).toEqual(['secret.read credential-expired', 'auth.token credential-expired']);
      // It has expired, so a third one takes its place, before any sweep.
      await admin.post('/applications/agent/credentials', {}).expect(201);
      await admin.post('/applications/agent/credentials', {}).expect(409);
      const past = { expiresAt: inText(expiresAt) };
      await admin.post('/applications/agent/credentials', past).expect(400);
    });

    test('a grant gives nothing', async () => {
      const path = await vaultWithSecret('shared');
      const bob = await system.as('bob');
      const expiresAt = soon();
      const granted = { secrets: ['read'], expiresAt: inText(expiresAt) };
      await grant(await system.as('alice'), 'shared', 'user:bob', granted).expect(201);
      const ask = async () => (await bob.get(path)).status;
      expect(await atTheEdge(expiresAt, ask)).toEqual({ before: 200, after: 404 });
      expect(await rulesOf({ vault: 'shared', decision: 'deny' })).toEqual(['secret.read grant:expired']);
    });

    test('a secret as a whole, and one version, are gone', async () => {
      const alice = await system.as('alice');
      const path = await vaultWithSecret('passing');
      const expiresAt = soon();
      await alice.patch(path, { expiresAt: inText(expiresAt) }).expect(200);
      await alice.put(at('passing', 'one'), { value: 'v', expiresAt: inText(expiresAt) }).expect(201);
      const ask = async () => [(await alice.get(path)).status, (await alice.get(at('passing', 'one'))).status];
      expect(await atTheEdge(expiresAt, ask)).toEqual({ before: [200, 200], after: [410, 410] });
    });

    test('what was in the trash for the full time is not restored, and not listed', async () => {
      const alice = await system.as('alice');
      const paths = [await vaultWithSecret('binned-a'), await vaultWithSecret('binned-b')];
      const trashedAt = soon(0) - system.vault.settings.trashMs + SOON_MS;
      for (const path of paths) await alice.delete(path).expect(204);
      await query(system, 'update secret set trashed_at = $1 where trashed_at is not null', [trashedAt]);
      const ask = async () => [
        (await alice.get('/vaults/binned-b/secrets?deleted=true')).body.items.length as number,
        (await alice.request('post', `${paths.pop()!}:restore`)).status,
      ];
      const both = await atTheEdge(trashedAt + system.vault.settings.trashMs, ask);
      expect(both.before).toEqual([1, 200]);
      expect(both.after[1]).toBe(404);
      expect((await alice.get('/vaults/binned-a/secrets?deleted=true')).body.items).toEqual([]);
      expect(await rulesOf({ vault: 'binned-a', decision: 'deny' })).toEqual(['secret.restore not-in-trash']);
    });
  });

  describe('a sweep', () => {
    test('acts on each expired user, application, credential and grant once, however many sweep', async () => {
      const admin = await system.as('admin');
      const alice = await system.as('alice');
      await vaultWithSecret('swept');
      const expiresAt = inText(soon());
      await admin.post('/users', { username: 'uma', role: 'developer', password: PASSWORD, expiresAt }).expect(201);
      await admin.post('/applications', { name: 'ada', expiresAt }).expect(201);
      await newApplication(system, 'keyed');
      const { body: credential } = await admin.post('/applications/keyed/credentials', { expiresAt }).expect(201);
      for (const principal of ['user:bob', 'application:keyed']) {
        await grant(alice, 'swept', principal, { secrets: ['read'], expiresAt }).expect(201);
      }
      await sweepAll();
      const acts = 'user.expire application.expire credential.expire grant.expire'.split(' ');
      const records = async () =>
        Promise.all(
          acts.map(async (action) => {
            const entries = await (await system.as('admin')).auditEntries({ action });
            const own = entries.filter(({ event }) =>
              ['uma', 'ada', 'keyed', 'swept'].some((name) => Object.values(event.resource!).includes(name)),
            );
            return own.map(({ event }) => ({ by: event.actor.id, rule: event.rule, ...event.resource }));
          }),
        );
      expect(await records()).toEqual([[], [], [], []]);

      system.passTime(SOON_MS);
      await Promise.all([sweepAll(), sweepAll(), sweepAll()]);
      await sweepAll();
      const by = { by: 'cardea', rule: 'expiry' };
      const inVault = { ...by, vault: 'swept', vaultId: expect.any(String) as unknown };
      const [users, applications, credentials, grants] = await records();
      expect([users, applications, credentials]).toEqual([
        [{ ...by, user: 'uma' }],
        [{ ...by, application: 'ada' }],
        [{ ...by, application: 'keyed', name: credential.id }],
      ]);
      expect(grants!.toSorted((a, b) => Number('user' in a) - Number('user' in b))).toEqual([
        { ...inVault, application: 'keyed' },
        { ...inVault, user: 'bob' },
      ]);
      expect((await admin.get('/users/uma').expect(200)).body.disabled).toBe(true);
      expect((await admin.get('/applications/ada').expect(200)).body.disabled).toBe(true);
      const { body } = await alice.get('/vaults/swept/grants').expect(200);
      expect((body.items as { principal: string }[]).map(({ principal }) => principal)).toEqual(['user:alice']);
      const events = (await eventsOf(system, 'swept')).map(({ kind, payload }) => ({ kind, ...payload }));
      expect(events).toEqual(
        expect.arrayContaining([
          { kind: 'grant.expired', principal: 'application:keyed', expiresAt },
          { kind: 'grant.expired', principal: 'user:bob', expiresAt },
        ]),
      );
      const told: object[] = (await systemEvents()).map(({ kind, payload }) => ({ kind, ...payload }));
      expect(told.filter((one) => 'expiresAt' in one && one.expiresAt === expiresAt)).toHaveLength(3);
      expect(told).toContainEqual({ kind: 'credential.expired', application: 'keyed', id: credential.id, expiresAt });
    });

    test('records no more and no less, if its process is killed after the commit and before the records', async () => {
      await vaultWithSecret('killed');
      const alice = await system.as('alice');
      const names = Array.from({ length: 30 }, (_, i) => `one-${i}`);
      for (const name of names) await alice.put(at('killed', name), { value: 'v', ttlSeconds: 10 }).expect(201);
      system.passTime(11_000);
      // As if the process had ended: its records never come, and nobody waits for it.
      const killed = { ...system.vault, audit: { ...system.vault.audit, append: () => new Promise<never>(() => {}) } };
      const run = { signal: new AbortController().signal, done: () => undefined };
      void jobHandlers(killed)['secret.sweep']({}, run);
      await expectEventually(async () => {
        expect(await query(system, `select id from outbox where event like '%"vault":"killed"%'`)).toHaveLength(30);
      });
      await system.runJob('secret.sweep', {});
      expect(await expired()).toEqual([]);
      system.passTime(11_000);
      await Promise.all([system.runJob('outbox.relay', {}), system.runJob('outbox.relay', {})]);
      await system.runJob('secret.sweep', {});
      expect(await expired()).toEqual(names.toSorted());

      async function expired() {
        const entries = await (await system.as('admin')).auditEntries({ vault: 'killed', action: 'secret.expire' });
        return entries.map(({ event }) => event.resource!.name!).toSorted();
      }
    });

    test('stops after a page when its process stops, and the next run does the rest', async () => {
      await vaultWithSecret('stopped');
      const admin = await system.as('admin');
      await admin.patch('/vaults/stopped', { maxVersions: 100 }).expect(200);
      await addExpired('stopped', 450);
      const stopping = new AbortController();
      let done = 0;
      const stopped = system.runJob(
        'secret.sweep',
        {},
        {
          signal: stopping.signal,
          done(items: number) {
            done += items;
            stopping.abort(new Error('the process stops'));
          },
        },
      );
      await expect(stopped).rejects.toThrow('the process stops');
      expect(done).toBe(200);
      const left = `select version from secret_version where ciphertext is not null and expires_at is not null`;
      expect(await query(system, left)).toHaveLength(250);
      await system.runJob('secret.sweep', {});
      expect(await query(system, left)).toEqual([]);
    });
  });

  /** Gives the secret of a vault many versions that have expired. */
  async function addExpired(vault: string, count: number): Promise<void> {
    await query(
      system,
      `with recursive place (i) as (select 2 union all select i + 1 from place where i <= $2)
       insert into secret_version (secret_id, vault_id, version, ciphertext, dek_version, encoding, expires_at,
                                   created_at, created_by)
       select e.secret_id, e.vault_id, i, e.ciphertext, e.dek_version, e.encoding, 1000, e.created_at, e.created_by
         from place
         join secret s on s.vault_id = (select id from vault where name = $1)
         join secret_version e on e.secret_id = s.id and e.version = 1`,
      [vault, count],
    );
  }

  async function tokenStatus(name: string, secret: string): Promise<number> {
    const form = { grant_type: 'client_credentials', client_id: name, client_secret: secret };
    return (await system.stranger.post('/auth/token', form)).status;
  }

  // Last, because days pass.
  describe('an announcement', () => {
    test('comes 30, 7 and 1 days before, once each, to admins, to owners and to oversight, and is recorded', async () => {
      const admin = await system.as('admin');
      await vaultWithSecret('announced');
      const expiresAt = inText(soon(40 * DAY_MS));
      await newUser(system, 'ute');
      await admin.patch('/users/ute', { expiresAt }).expect(200);
      await admin.post('/applications', { name: 'ann', expiresAt }).expect(201);
      const { body: credential } = await admin.post('/applications/ann/credentials', { expiresAt }).expect(201);
      await grant(await system.as('alice'), 'announced', 'user:bob', { secrets: ['read'], expiresAt }).expect(201);
      const seen: number[][] = [];
      for (const days of [9, 1.001, 1, 21.99, 0.01, 6, 0.5]) {
        system.passTime(days * DAY_MS);
        await Promise.all([sweepAll(), sweepAll()]);
        await sweepAll();
        const own = (await systemEvents()).filter(
          ({ payload }) => 'expiresAt' in payload && payload.expiresAt === expiresAt,
        );
        const owners = (await eventsOf(system, 'announced')).filter(({ kind }) => kind === 'grant.expiring');
        const of = (kind: string) => own.filter((event) => event.kind === kind).length;
        seen.push([of('user.expiring'), of('application.expiring'), of('credential.expiring'), owners.length]);
      }
      expect(seen.map(([first]) => first)).toEqual([0, 1, 1, 1, 2, 3, 3]);
      for (const counts of seen) expect(new Set(counts).size).toBe(1);

      for (const [action, resource] of [
        ['user.expiring', { user: 'ute' }],
        ['application.expiring', { application: 'ann' }],
        ['credential.expiring', { application: 'ann', name: credential.id as string }],
        ['grant.expiring', { vault: 'announced', user: 'bob' }],
      ] as const) {
        const entries = await (await system.as('admin')).auditEntries({ action });
        const records = entries.map(({ event }) => event).filter((event) => event.rule === 'expiry');
        expect(records.filter((event) => matches(event.resource, resource))).toHaveLength(3);
      }
    });

    test('of what was disabled, moved or deleted does not come', async () => {
      const expiresAt = inText(soon(8 * DAY_MS));
      const later = inText(soon(80 * DAY_MS));
      const admin = await system.as('admin');
      for (const username of ['off', 'gone', 'longer', 'kept']) {
        await newUser(system, username);
        await admin.patch(`/users/${username}`, { expiresAt }).expect(200);
      }
      await admin.patch('/users/off', { disabled: true }).expect(200);
      await admin.delete('/users/gone').expect(204);
      await admin.patch('/users/longer', { expiresAt: later }).expect(200);
      system.passTime(1.5 * DAY_MS);
      await sweepAll();
      const told = (await systemEvents()).filter(({ kind }) => kind === 'user.expiring');
      expect(
        told.map(({ payload }) => payload).filter((one) => 'username' in one && one.expiresAt >= expiresAt),
      ).toEqual([{ username: 'kept', expiresAt }]);
    });

    test('is for admins and oversight; nobody else sees the events of the system, and a look is recorded', async () => {
      for (const [name, status] of [
        ['admin', 200],
        ['carla', 200],
        ['alice', 403],
      ] as const) {
        await (await system.as(name)).get('/events?kind=user.expiring').expect(status);
      }
      await (await newApplication(system, 'curious')).get('/events').expect(403);
      await system.stranger.get('/events').expect(401);
      const entries = await (await system.as('admin')).auditEntries({ action: 'event.list', limit: '5' });
      expect(entries.toReversed().map(({ event }) => [event.decision, event.actor.name, event.rule])).toEqual([
        ['allow', 'admin', 'role:admin'],
        ['allow', 'carla', 'role:ceo'],
        ['deny', 'alice', 'role:developer'],
        ['deny', 'curious', 'default-deny'],
        ['deny', undefined, 'no-token'],
      ]);
    });
  });
});

function matches(resource: object | undefined, wanted: object): boolean {
  return Object.entries(wanted).every(([key, value]) => (resource as Record<string, unknown>)[key] === value);
}
