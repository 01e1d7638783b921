import type { Role } from '@cardea/contracts/caller';
import { inEachProfile } from '@cardea/testkit/use-system';
import { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';
import { clientAt, countStatuses, createUser, expectRecords, recordsOf, signIn, startReplica } from './identity.ts';

const ANOTHER_PASSWORD = 'wrong donkey generator paperclip';

inEachProfile((system) => {
  system.settings['CARDEA_TRUSTED_PROXIES'] = '1';

  const inMs = (ms: number) => new Date(system.now().getTime() + ms).toISOString();

  describe('an admin', () => {
    test('makes, reads, changes and deletes a user, and each call is in the audit log', async () => {
      const admin = await system.as('admin');
      const made = await admin.post('/users', { username: 'dora', role: 'developer', password: PASSWORD }).expect(201);
      const dora = {
        id: expect.any(String),
        username: 'dora',
        role: 'developer',
        disabled: false,
        locked: false,
        totp: false,
        mustChangePassword: false,
        createdAt: expect.any(String),
      };
      expect(made.body).toEqual(dora);
      const act = { decision: 'allow', rule: 'role:admin', resource: { user: 'dora' } } as const;
      await expectRecords(system, made, {
        ...act,
        action: 'user.create',
        changes: {
          role: { to: 'developer' },
          disabled: { to: false },
          totp: { to: false },
          mustChangePassword: { to: false },
        },
      });

      const read = await admin.get('/users/dora').expect(200);
      expect(read.body).toEqual(made.body);
      await expectRecords(system, read, { ...act, action: 'user.read' });

      const changed = await admin.patch('/users/dora', { role: 'ceo' }).expect(200);
      expect(changed.body).toEqual({ ...made.body, role: 'ceo' });
      await expectRecords(system, changed, {
        ...act,
        action: 'user.change',
        changes: { role: { from: 'developer', to: 'ceo' } },
      });

      const deleted = await admin.delete('/users/dora').expect(204);
      await expectRecords(system, deleted, { ...act, action: 'user.delete' });
      const gone = await admin.get('/users/dora').expect(404);
      await expectRecords(system, gone, { action: 'user.read', decision: 'deny', rule: 'no-such-user' });
    });

    test('lists users by name, one page at a time', async () => {
      const admin = await system.as('admin');
      const names: string[] = [];
      let cursor = '';
      for (;;) {
        const page = await admin.get(`/users?limit=2${cursor && `&cursor=${cursor}`}`).expect(200);
        names.push(...page.body.items.map((user: { username: string }) => user.username));
        await expectRecords(system, page, { action: 'user.list', resource: { count: page.body.items.length } });
        if (page.body.nextCursor === undefined) break;
        cursor = page.body.nextCursor as string;
      }
      expect(names).toEqual(names.toSorted());
      expect(names).toEqual(expect.arrayContaining(['admin', 'alice', 'bob', 'carla']));
      expect(new Set(names).size).toBe(names.length);
    });

    test('cannot make two users with one name, nor one with two expiries, a past expiry or a malformed name', async () => {
      const admin = await system.as('admin');
      const post = (body: object) => admin.post('/users', { role: 'developer', password: PASSWORD, ...body });
      const taken = await post({ username: 'alice' }).expect(409);
      await expectRecords(system, taken, { action: 'user.create', decision: 'deny', reason: 'conflict' });
      await post({ username: 'twice', expiresAt: inMs(HOUR_MS), ttlSeconds: 60 }).expect(400);
      await post({ username: 'late', expiresAt: inMs(-1) }).expect(400);
      await post({ username: 'zero', ttlSeconds: 0 }).expect(400);
      await post({ username: 'extra', owner: true }).expect(400);
      for (const username of ['Alice', 'alice ', 'аlice', 'a/b', '', 'a'.repeat(64)])
        await post({ username }).expect(400);
      await admin.patch('/users/alice', { expiresAt: inMs(-1) }).expect(400);
      for (const name of ['twice', 'late', 'zero', 'extra']) await admin.get(`/users/${name}`).expect(404);
    });

    test('is the only one who may do this', async () => {
      for (const [name, role] of [
        ['alice', 'developer'],
        ['carla', 'ceo'],
      ] as const) {
        const person = await system.as(name);
        const tries = [
          person.post('/users', { username: 'mine', role: 'admin' }),
          person.get('/users'),
          person.get('/users/bob'),
          person.patch(`/users/${name}`, { role: 'admin' }),
          person.delete('/users/bob'),
          person.post('/users/bob:resetPassword'),
          person.post('/users/bob:unlock'),
          person.post('/users/bob:revokeSessions'),
        ];
        for (const refused of tries) {
          const answer = await refused.expect(403);
          await expectRecords(system, answer, { decision: 'deny', reason: 'access_denied', rule: `role:${role}` });
        }
      }
      const admin = await system.as('admin');
      expect((await admin.get('/users/alice').expect(200)).body.role).toBe('developer');
    });
  });

  describe('a one-time password', () => {
    test('is shown once, signs in once, and only lets its user change it', async () => {
      const { oneTimePassword, mustChangePassword } = await createUser(system, { username: 'otto' });
      const password = String(oneTimePassword);
      expect(password).toMatch(/^[A-Za-z0-9_-]{16}$/);
      expect(mustChangePassword).toBe(true);
      const admin = await system.as('admin');
      expect((await admin.get('/users/otto').expect(200)).text).not.toContain(password);

      const { person } = await signIn(system, { username: 'otto', password });
      const again = await system.stranger.post('/auth/login', { username: 'otto', password }).expect(401);
      await expectRecords(system, again, { action: 'auth.login', decision: 'deny', rule: 'one-time-password-used' });
      expect((await person.get('/auth/me').expect(200)).body.mustChangePassword).toBe(true);
      const forbidden = [
        person.get('/vaults'),
        person.post('/vaults', { name: 'ottos' }),
        person.get('/auth/sessions'),
        person.post('/auth/totp', { currentPassword: PASSWORD }),
        person.delete('/auth/totp'),
        person.get('/users'),
      ];
      for (const refused of forbidden) {
        const answer = await refused.expect(403);
        await expectRecords(system, answer, { decision: 'deny', rule: 'must-change-password' });
      }

      const fullWidth = password.replaceAll(/[!-~]/g, (letter) =>
        String.fromCodePoint(letter.codePointAt(0)! + 0xfee0),
      );
      const kept = await person
        .post('/auth/password', { currentPassword: password, newPassword: fullWidth })
        .expect(400);
      await expectRecords(system, kept, { action: 'auth.password', decision: 'deny', reason: 'invalid_request' });
      expect((await person.get('/auth/me').expect(200)).body.mustChangePassword).toBe(true);

      const wrong = { currentPassword: 'not it at all', newPassword: PASSWORD };
      const denied = await person.post('/auth/password', wrong).expect(403);
      await expectRecords(system, denied, { action: 'auth.password', decision: 'deny', rule: 'bad-password' });
      const done = await person
        .post('/auth/password', { currentPassword: password, newPassword: PASSWORD })
        .expect(204);
      await expectRecords(system, done, { action: 'auth.password', decision: 'allow', rule: 'self' });
      await person.post('/vaults', { name: 'ottos' }).expect(201);
      expect((await person.get('/auth/me').expect(200)).body).not.toHaveProperty('mustChangePassword');
      await system.stranger.post('/auth/login', { username: 'otto', password }).expect(401);
      await signIn(system, { username: 'otto' });
    });

    test('that nobody changed is given up by signing out, and then only an admin can replace it', async () => {
      const { oneTimePassword } = await createUser(system, { username: 'olga' });
      const { person } = await signIn(system, { username: 'olga', password: String(oneTimePassword) });
      await person.post('/auth/logout').expect(204);
      await system.stranger.post('/auth/login', { username: 'olga', password: oneTimePassword }).expect(401);
      const admin = await system.as('admin');
      const { body } = await admin.post('/users/olga:resetPassword').expect(200);
      expect(body.oneTimePassword).not.toBe(oneTimePassword);
      await signIn(system, { username: 'olga', password: body.oneTimePassword });
    });

    test('used a hundred times at once starts one session', async () => {
      const { id, oneTimePassword } = await createUser(system, { username: 'onora' });
      const body = { username: 'onora', password: oneTimePassword };
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => clientAt(system, `198.51.100.${i}`).post('/auth/login', body)),
      );
      expect(countStatuses(answers)[200]).toBe(1);
      expect(Object.keys(countStatuses(answers)).every((status) => ['200', '401', '429', '503'].includes(status))).toBe(
        true,
      );
      expect(await query(system, 'select id from session where user_id = $1', [String(id)])).toHaveLength(1);
      const admin = await system.as('admin');
      const signIns = await admin.auditEntries({ action: 'auth.login', actor: String(id) });
      expect(signIns.map(({ event }) => event.decision)).toEqual(['allow']);
    });
  });

  describe('an expiry', () => {
    test.each([
      ['ttlSeconds', () => ({ ttlSeconds: 200 })],
      ['expiresAt', () => ({ expiresAt: inMs(200_000) })],
    ])('by %s works from that second on, before the sweep, which records it once', async (kind, expiry) => {
      const username = `ed-${kind.toLowerCase()}`;
      const { expiresAt } = await createUser(system, { username, password: PASSWORD, ...expiry() });
      const { person, refreshToken } = await signIn(system, { username });
      system.passTime(Date.parse(String(expiresAt)) - system.now().getTime() - 10_000);
      await person.get('/auth/me').expect(200);

      system.passTime(Date.parse(String(expiresAt)) - system.now().getTime());
      const { stranger } = system;
      const refused = [
        [await person.get('/auth/me').expect(401), 'auth.me'],
        [await stranger.post('/auth/refresh', { refresh_token: refreshToken }).expect(401), 'auth.refresh'],
        [await stranger.post('/auth/login', { username, password: PASSWORD }).expect(401), 'auth.login'],
      ] as const;
      for (const [answer, action] of refused) {
        await expectRecords(system, answer, { action, decision: 'deny', rule: 'user-expired' });
      }
      const admin = await system.as('admin');
      const expired = async () =>
        (await admin.auditEntries({ action: 'user.expire' })).filter(({ event }) => event.resource?.user === username);
      expect((await admin.get(`/users/${username}`).expect(200)).body.disabled).toBe(false);
      expect(await expired()).toEqual([]);

      await system.runJob('user.sweep', {});
      await system.runJob('user.sweep', {});
      expect((await admin.get(`/users/${username}`).expect(200)).body.disabled).toBe(true);
      expect((await expired()).map(({ event }) => event)).toEqual([
        expect.objectContaining({
          decision: 'allow',
          rule: 'expiry',
          changes: { disabled: { from: false, to: true } },
          actor: { id: 'cardea', type: 'service' },
        }),
      ]);
    });

    test('that is moved or removed in time does not happen', async () => {
      const admin = await system.as('admin');
      for (const [username, expiresAt] of [
        ['eve', null],
        ['eva', inMs(HOUR_MS)],
      ] as const) {
        await createUser(system, { username, password: PASSWORD, ttlSeconds: 60 });
        await admin.patch(`/users/${username}`, { expiresAt }).expect(200);
      }
      system.passTime(100_000);
      await system.runJob('user.sweep', {});
      for (const username of ['eve', 'eva']) await signIn(system, { username });
    });

    test('that is moved during the sweep, or whose user is deleted, closes no account by mistake', async () => {
      const names = Array.from({ length: 12 }, (_, i) => `eddy-${i}`);
      for (const username of names) await createUser(system, { username, password: PASSWORD, ttlSeconds: 60 });
      system.passTime(MINUTE_MS);
      const admin = await system.as('admin');
      const [, ...answers] = await Promise.all([
        system.runJob('user.sweep', {}),
        ...names
          .toReversed()
          .map((name, i) =>
            i < 3 ? admin.delete(`/users/${name}`) : admin.patch(`/users/${name}`, { expiresAt: inMs(HOUR_MS) }),
          ),
      ]);
      expect(countStatuses(answers)).toEqual({ 200: 9, 204: 3 });
      const done = (await admin.auditEntries()).map(({ event }) => event).toReversed();
      for (const name of names) {
        const acts = done.filter(({ resource }) => resource?.user === name).map(({ action }) => action);
        const afterwards = acts.slice(acts.findIndex((action) => /change|delete/.test(action)));
        expect(afterwards).not.toContain('user.expire');
      }
    });

    test('that an admin removes lets the user sign in again', async () => {
      await createUser(system, { username: 'edith', password: PASSWORD, ttlSeconds: 60 });
      system.passTime(MINUTE_MS);
      await system.runJob('user.sweep', {});
      const admin = await system.as('admin');
      await admin.patch('/users/edith', { disabled: false, expiresAt: null }).expect(200);
      await signIn(system, { username: 'edith' });
    });
  });

  describe('holds at the very next request:', () => {
    const acts: [string, string, (admin: Stranger, name: string) => Promise<unknown>][] = [
      ['disabling', 'user-disabled', (admin, name) => admin.patch(`/users/${name}`, { disabled: true }).expect(200)],
      ['deletion', 'session-ended', (admin, name) => admin.delete(`/users/${name}`).expect(204)],
      ['revokeSessions', 'session-ended', (admin, name) => admin.post(`/users/${name}:revokeSessions`).expect(204)],
      ['resetPassword', 'session-ended', (admin, name) => admin.post(`/users/${name}:resetPassword`).expect(200)],
    ];
    test.each(acts)('%s', async (act, rule, doIt) => {
      const username = act.toLowerCase();
      await createUser(system, { username, password: PASSWORD });
      const sessions = [await signIn(system, { username }), await signIn(system, { username })];
      for (const { person } of sessions) await person.get('/vaults').expect(200);
      await doIt(await system.as('admin'), username);
      const isDisabled = act === 'disabling';
      for (const { person, refreshToken } of sessions) {
        const refused = await person.get('/vaults').expect(401);
        await expectRecords(system, refused, { decision: 'deny', rule: isDisabled ? 'session-ended' : rule });
        await system.stranger.post('/auth/refresh', { refresh_token: refreshToken }).expect(401);
      }
      if (act === 'revokeSessions') await signIn(system, { username });
      else await system.stranger.post('/auth/login', { username, password: PASSWORD }).expect(401);
    });

    test('a change of role', async () => {
      await createUser(system, { username: 'rolf', password: PASSWORD });
      const { person } = await signIn(system, { username: 'rolf' });
      const admin = await system.as('admin');
      const may = async (role: Role, status: number) => {
        await admin.patch('/users/rolf', { role }).expect(200);
        const answer = await person.get('/users').expect(status);
        await expectRecords(system, answer, { action: 'user.list', rule: `role:${role}` });
        expect((await person.get('/auth/me').expect(200)).body.role).toBe(role);
      };
      await may('admin', 200);
      await may('ceo', 403);
      await may('developer', 403);
    });

    test('signing out, for this session and no other', async () => {
      const [one, other] = [await signIn(system, { username: 'bob' }), await signIn(system, { username: 'bob' })];
      const out = await one.person.post('/auth/logout').expect(204);
      await expectRecords(system, out, { action: 'auth.logout', decision: 'allow', rule: 'self' });
      await one.person.get('/auth/me').expect(401);
      await other.person.get('/auth/me').expect(200);
    });

    test('enabling again, which brings no session back', async () => {
      await createUser(system, { username: 'dina', password: PASSWORD });
      const { person, refreshToken } = await signIn(system, { username: 'dina' });
      const admin = await system.as('admin');
      await admin.patch('/users/dina', { disabled: true }).expect(200);
      const refused = await system.stranger.post('/auth/login', { username: 'dina', password: PASSWORD }).expect(401);
      await expectRecords(system, refused, { action: 'auth.login', decision: 'deny', rule: 'user-disabled' });
      await admin.patch('/users/dina', { disabled: false }).expect(200);
      await person.get('/auth/me').expect(401);
      await system.stranger.post('/auth/refresh', { refresh_token: refreshToken }).expect(401);
      await signIn(system, { username: 'dina' });
    });

    test('the change of the own password, for every session except the one that made it', async () => {
      await createUser(system, { username: 'pia', password: PASSWORD });
      const [one, other] = [await signIn(system, { username: 'pia' }), await signIn(system, { username: 'pia' })];
      const change = { currentPassword: PASSWORD, newPassword: ANOTHER_PASSWORD };
      await one.person.post('/auth/password', change).expect(204);
      await one.person.get('/auth/me').expect(200);
      await other.person.get('/auth/me').expect(401);
    });

    if (system.profile === 'full') {
      test('all of it in another process', async () => {
        const replica = await startReplica(system);
        try {
          for (const [act, , doIt] of acts) {
            const username = `far-${act.toLowerCase()}`;
            await createUser(system, { username, password: PASSWORD });
            const { person } = await signIn(system, { username });
            const there = new Stranger(replica.url, person.token);
            await there.get('/vaults').expect(200);
            await doIt(await system.as('admin'), username);
            await there.get('/vaults').expect(401);
          }
          const { person } = await signIn(system, { username: 'bob' });
          const there = new Stranger(replica.url, person.token);
          await there.get('/vaults').expect(200);
          await person.post('/auth/logout').expect(204);
          await there.get('/vaults').expect(401);
        } finally {
          await replica.stop();
        }
      });
    }
  });

  test('a sign-in during a password reset or the disabling of the account leaves no session', async () => {
    const admin = await system.as('admin');
    for (let round = 0; round < 10; round += 1) {
      const username = `race-${round}`;
      await createUser(system, { username, password: PASSWORD });
      const body = { username, password: PASSWORD };
      const act = round % 2 === 0 ? ':resetPassword' : '';
      const [answer] = await Promise.all([
        system.stranger.post('/auth/login', body),
        act ? admin.post(`/users/${username}${act}`) : admin.patch(`/users/${username}`, { disabled: true }),
      ]);
      if (!act) await admin.patch(`/users/${username}`, { disabled: false }).expect(200);
      expect([200, 401]).toContain(answer.status);
      if (answer.status === 200) await system.stranger.withToken(answer.body.access_token).get('/auth/me').expect(401);
    }
  });

  describe('the last admin who can sign in without an expiry', () => {
    test('is not removed, demoted, disabled or given an expiry, not even by another admin whose own expiry is near', async () => {
      await createUser(system, { username: 'temp', role: 'admin', password: PASSWORD, ttlSeconds: 3_600 });
      const { person: temp } = await signIn(system, { username: 'temp' });
      const tries = [
        temp.delete('/users/admin'),
        temp.patch('/users/admin', { role: 'developer' }),
        temp.patch('/users/admin', { disabled: true }),
        temp.patch('/users/admin', { expiresAt: inMs(HOUR_MS) }),
      ];
      for (const refused of tries) {
        const answer = await refused.expect(409);
        await expectRecords(system, answer, { decision: 'deny', reason: 'conflict', rule: 'last-admin' });
      }
      const admin = await system.as('admin');
      expect((await admin.get('/users/admin').expect(200)).body).toMatchObject({ role: 'admin', disabled: false });
      await admin.delete('/users/temp').expect(204);
    });

    test('stays an admin if the last two demote each other at once', async () => {
      await createUser(system, { username: 'second', role: 'admin', password: PASSWORD });
      const { person: second } = await signIn(system, { username: 'second' });
      const first = await system.as('admin');
      const demote = { role: 'developer' };
      const answers = await Promise.all([first.patch('/users/second', demote), second.patch('/users/admin', demote)]);
      const statuses = answers.map(({ status }) => status);
      expect(Math.min(...statuses)).toBe(200);
      expect([403, 409]).toContain(Math.max(...statuses));
      // The next steps need the first one to be an admin.
      const [left, other] = statuses[0] === 200 ? [first, 'second'] : [second, 'admin'];
      expect((await left.get(`/users/${other}`).expect(200)).body.role).toBe('developer');
      await left.patch(`/users/${other}`, { role: 'admin' }).expect(200);
      await first.delete('/users/second').expect(204);
    });
  });

  test('no admin removes, demotes, disables or expires themself, even if there is another admin', async () => {
    await createUser(system, { username: 'max', role: 'admin', password: PASSWORD });
    const { person: max } = await signIn(system, { username: 'max' });
    const tries = [
      max.delete('/users/max'),
      max.patch('/users/max', { role: 'ceo' }),
      max.patch('/users/max', { disabled: true }),
      max.patch('/users/max', { expiresAt: inMs(HOUR_MS) }),
    ];
    for (const refused of tries) {
      const answer = await refused.expect(409);
      await expectRecords(system, answer, { decision: 'deny', reason: 'conflict', rule: 'own-account' });
    }
    await max.get('/users').expect(200);
    await (await system.as('admin')).delete('/users/max').expect(204);
  });

  test('the sole owner of a vault is deleted only with the name of a successor, who then owns it', async () => {
    await createUser(system, { username: 'olaf', password: PASSWORD });
    const { person: olaf } = await signIn(system, { username: 'olaf' });
    await olaf.post('/vaults', { name: 'heritage' }).expect(201);
    await olaf.put('/vaults/heritage/secrets/s', { value: 'kept' }).expect(201);
    await olaf.post('/vaults', { name: 'heirloom' }).expect(201);
    const admin = await system.as('admin');
    const refused = await admin.delete('/users/olaf').expect(409);
    expect(refused.body.detail).toContain('heritage');
    for (const successor of ['olaf', 'carla', 'nobody']) {
      await admin.delete(`/users/olaf?successor=${successor}`).expect(409);
    }
    const done = await admin.delete('/users/olaf?successor=alice').expect(204);
    const handedOver = { action: 'vault.handOver', decision: 'allow', rule: 'role:admin' } as const;
    const changes = { owner: { from: 'olaf', to: 'alice' } };
    await expectRecords(
      system,
      done,
      { action: 'user.delete', decision: 'allow', reason: 'succeeded by alice', resource: { user: 'olaf' } },
      { ...handedOver, changes, resource: { user: 'alice', vault: 'heirloom', vaultId: expect.any(String) } as never },
      { ...handedOver, changes, resource: { user: 'alice', vault: 'heritage', vaultId: expect.any(String) } as never },
    );
    // All of them were acknowledged, so nothing is left for the relay.
    await system.vault.outbox.flush();
    expect(await query(system, `select event from outbox where event like '%handOver%'`)).toEqual([]);
    const alice = await system.as('alice');
    expect(await alice.readSecret('heritage', 's')).toBe('kept');
  });

  test('an admin cannot reset their own password: a stolen session would take over the account', async () => {
    const { username } = await createUser(system, { username: 'roy', role: 'admin', password: PASSWORD });
    const { person: roy } = await signIn(system, { username: 'roy' });
    const refused = await roy.post('/users/roy:resetPassword').expect(409);
    expect(refused.body.detail).toContain('POST /api/v1/auth/password');
    const record = { action: 'user.resetPassword', decision: 'deny', rule: 'own-account' } as const;
    await expectRecords(system, refused, record);
    await signIn(system, { username: 'roy' });
    await (await system.as('admin')).delete(`/users/${String(username)}`).expect(204);
  });

  test('a reset password is a one-time password, and the old one and every session stop working', async () => {
    await createUser(system, { username: 'rita', password: PASSWORD });
    const { person } = await signIn(system, { username: 'rita' });
    const admin = await system.as('admin');
    const reset = await admin.post('/users/rita:resetPassword').expect(200);
    const { oneTimePassword } = reset.body as { oneTimePassword: string };
    const record = { action: 'user.resetPassword', decision: 'allow', resource: { user: 'rita' } } as const;
    await expectRecords(system, reset, record);
    expect(JSON.stringify(await recordsOf(system, reset))).not.toContain(oneTimePassword);
    await person.get('/auth/me').expect(401);
    await system.stranger.post('/auth/login', { username: 'rita', password: PASSWORD }).expect(401);
    const { person: back } = await signIn(system, { username: 'rita', password: oneTimePassword });
    await back.get('/vaults').expect(403);
  });

  test('the session of somebody else does not exist for a caller, and continues', async () => {
    const [alice, bob] = [await signIn(system, { username: 'alice' }), await signIn(system, { username: 'bob' })];
    const { body } = await alice.person.get('/auth/sessions').expect(200);
    const { id } = body.items.find((session: { current: boolean }) => session.current) as { id: string };
    const refused = await bob.person.delete(`/auth/sessions/${id}`).expect(404);
    const record = { action: 'session.end', decision: 'deny', reason: 'not_found', rule: 'no-such-session' } as const;
    await expectRecords(system, refused, record);
    await (await system.as('admin')).delete(`/auth/sessions/${id}`).expect(404);
    await alice.person.get('/auth/me').expect(200);
    const ended = await alice.person.delete(`/auth/sessions/${id}`).expect(204);
    await expectRecords(system, ended, { action: 'session.end', decision: 'allow', resource: { name: id } });
    await alice.person.get('/auth/me').expect(401);
  });

  describe('a new password', () => {
    const emoji = Array.from({ length: 128 }, (_, i) => String.fromCodePoint(0x1f300 + i)).join('');
    const first = (count: number) => Array.from(emoji).slice(0, count).join('');

    test.each([
      ['of 11 characters', 'eleven char'],
      ['of 129 characters', Array.from({ length: 129 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join('')],
      ['of 11 characters with 22 UTF-16 code units', first(11)],
      ['that is common', 'password1234'],
      ['that is common except for its case', 'PassWord1234'],
      ['that is the username with little more', 'pat.the.postman1'],
      ['of one character', 'aaaaaaaaaaaa'],
    ])('%s is refused for a new user and for the own account, and is not repeated', async (_what, password) => {
      const admin = await system.as('admin');
      const made = await admin.post('/users', { username: 'pat.the.postman', role: 'developer', password }).expect(400);
      expect(made.text).not.toContain(password);
      await expectRecords(system, made, { action: 'user.create', decision: 'deny', rule: 'password-rules' });
      await admin.get('/users/pat.the.postman').expect(404);
    });

    test.each([
      ['of 12 characters', 'twelve chars'],
      ['of 128 characters with 256 UTF-16 code units', first(128)],
      ['of 12 characters with 24 UTF-16 code units', first(12)],
    ])('%s is accepted and signs in', async (_what, password) => {
      const username = `pw-${Buffer.byteLength(password)}`;
      await createUser(system, { username, password });
      const { person } = await signIn(system, { username, password });
      const bad = await person
        .post('/auth/password', { currentPassword: password, newPassword: 'eleven char' })
        .expect(400);
      await expectRecords(system, bad, { action: 'auth.password', decision: 'deny', rule: 'password-rules' });
      await person.post('/auth/password', { currentPassword: password, newPassword: password }).expect(400);
      await person.post('/auth/password', { currentPassword: password, newPassword: ANOTHER_PASSWORD }).expect(204);
      await signIn(system, { username, password: ANOTHER_PASSWORD });
    });

    test('has 12 to 128 characters in the document; a typed password that is compared may be anything', async () => {
      const { body } = await system.stranger.get('/openapi.json').expect(200);
      const fieldOf = (path: string, field: string) =>
        body.paths[`/api/v1${path}`].post.requestBody.content['application/json'].schema.properties[field];
      const rules = { minLength: 12, maxLength: 128 };
      expect(fieldOf('/users', 'password')).toMatchObject(rules);
      expect(fieldOf('/auth/password', 'newPassword')).toMatchObject(rules);
      const anything = { minLength: 1, maxLength: 1024 };
      expect(fieldOf('/auth/password', 'currentPassword')).toMatchObject(anything);
      expect(fieldOf('/auth/login', 'password')).toMatchObject(anything);
    });

    test('needs the current one, which cannot be guessed here either', async () => {
      await createUser(system, { username: 'guessed', password: PASSWORD });
      const { person } = await signIn(system, { username: 'guessed' });
      const guess = (currentPassword: string) =>
        person.post('/auth/password', { currentPassword, newPassword: ANOTHER_PASSWORD });
      const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => guess(`guess number ${i}`)));
      expect(countStatuses(answers)).toEqual({ 403: 6, 429: 24 });
      // The refusals within one second share a record.
      system.passTime(1_000);
      const locked = await guess(PASSWORD).expect(429);
      await expectRecords(system, locked, { action: 'auth.password', decision: 'deny', rule: 'sign-in-throttle' });
      system.passTime(5_000);
      await guess(PASSWORD).expect(204);
    });
  });
});
