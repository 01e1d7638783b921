import { describe, expect, test } from '@jest/globals';
import type { AuditActor } from '@cardea/contracts/audit-event';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { parseToken } from '../identity/forged-tokens.ts';
import { clientAt, createUser, expectRecords, recordsOf, signIn } from '../identity/identity.ts';
import type { Answer } from '../identity/identity.ts';

inEachProfile(
  (system, { admin }) => {
    const inMs = (ms: number) => new Date(system.now().getTime() + ms).toISOString();

    /** Expects one record that names the actor, and an answer that does not. */
    async function expectActor(answer: Answer, actor: AuditActor, rule: string): Promise<void> {
      const [record, ...more] = await recordsOf(system, answer);
      expect(more).toEqual([]);
      expect([record!.decision, record!.rule, record!.actor]).toEqual(['deny', rule, actor]);
      for (const told of [actor.id, `"${actor.name}"`, rule]) expect(JSON.stringify(answer.body)).not.toContain(told);
    }

    describe('the record of a refusal names the owner of the token:', () => {
      test('a user who must still choose a password', async () => {
        const { oneTimePassword } = await createUser(system, { username: 'choosy' });
        const { person } = await signIn(system, { username: 'choosy', password: String(oneTimePassword) });
        await expectActor(await person.get('/vaults').expect(403), actorOf(person, 'choosy'), 'must-change-password');
      });

      const ends: [string, string, (person: Stranger, name: string) => Promise<unknown>][] = [
        ['signed out', 'session-ended', (person) => person.post('/auth/logout').expect(204)],
        ['was disabled', 'session-ended', (_, name) => admin.patch(`/users/${name}`, { disabled: true }).expect(200)],
        ['has expired', 'user-expired', async () => system.passTime(MINUTE_MS)],
      ];
      test.each(ends)('a user who %s, by an access token or by a refresh token', async (what, rule, end) => {
        const username = what.replaceAll(' ', '-');
        await createUser(system, { username, password: PASSWORD, ttlSeconds: 60 });
        const { person, refreshToken } = await signIn(system, { username });
        await end(person, username);
        await expectActor(await person.get('/auth/me').expect(401), actorOf(person, username), rule);
        const refreshed = await system.stranger.post('/auth/refresh', { refresh_token: refreshToken }).expect(401);
        await expectActor(refreshed, actorOf(person, username), rule);
        await system.as('admin');
      });

      test('a user whose refresh token was used twice', async () => {
        const { person, refreshToken } = await signIn(system, { username: 'bob' });
        const refresh = (from: Stranger) => from.post('/auth/refresh', { refresh_token: refreshToken });
        await refresh(system.stranger).expect(200);
        const stolen = await refresh(system.stranger.with({ 'User-Agent': 'thief/1' })).expect(401);
        const [ended, refused] = await recordsOf(system, stolen);
        expect([ended!.action, ended!.actor]).toEqual(['session.end', actorOf(person, 'bob')]);
        expect([refused!.action, refused!.actor]).toEqual(['auth.refresh', actorOf(person, 'bob')]);
      });

      const closings: [string, string, object, (name: string) => Promise<unknown>][] = [
        ['disabled', 'application-disabled', {}, (name) => admin.patch(`/applications/${name}`, { disabled: true })],
        ['expired', 'application-expired', { expiresAt: 30 * SECOND_MS }, async () => system.passTime(30 * SECOND_MS)],
        [
          'kept-out',
          'application-network',
          {},
          (name) => admin.patch(`/applications/${name}`, { allowedCidrs: ['10.0.0.0/8'] }),
        ],
      ];
      test.each(closings)(
        'an application that is %s, and its answer does not blame the secret',
        async (name, rule, settings, close) => {
          const ends = 'expiresAt' in settings ? { expiresAt: inMs(30 * SECOND_MS) } : {};
          const { body } = await admin.post('/applications', { name, ...ends }).expect(201);
          const grant = {
            grant_type: 'client_credentials',
            client_id: body.clientId,
            client_secret: body.clientSecret,
          };
          const given = await system.stranger.post('/auth/token', grant).expect(200);
          const application = system.stranger.withToken(given.body.access_token as string);
          await close(name);
          const refused = await application.get('/auth/me').expect(401);
          expect(refused.body.detail).toBe('the token is no longer valid, or it is not valid from this address');
          await expectActor(refused, actorOf(application, name), rule);

          // A caller who only has the secret learns no more than anybody.
          const asked = await system.stranger.post('/auth/token', grant).expect(401);
          const wrong = { ...grant, client_secret: grant.client_secret.replace(/.$/, 'x') };
          const { body: told } = await system.stranger.post('/auth/token', wrong).expect(401);
          expect(asked.body.detail).toBe(told.detail);
          await expectActor(asked, actorOf(application, name), rule);
        },
      );

      test('an application whose secret was withdrawn, and nobody once it is deleted', async () => {
        const { body } = await admin.post('/applications', { name: 'withdrawn' }).expect(201);
        const grant = { grant_type: 'client_credentials', client_id: body.clientId, client_secret: body.clientSecret };
        const given = await system.stranger.post('/auth/token', grant).expect(200);
        const application = system.stranger.withToken(given.body.access_token as string);
        const [{ id }] = (await admin.get('/applications/withdrawn/credentials').expect(200)).body.items;
        await admin.delete(`/applications/withdrawn/credentials/${id}`).expect(204);
        const actor = { id: body.clientId as string, type: 'application' as const, name: 'withdrawn' };
        await expectActor(await application.get('/auth/me').expect(401), actor, 'credential-withdrawn');
        await admin.delete('/applications/withdrawn').expect(204);
        const gone = await application.get('/auth/me').expect(401);
        await expectRecords(system, gone, {
          rule: 'credential-withdrawn',
          actor: { id: 'anonymous', type: 'anonymous' },
        });
      });
    });

    describe('the record of a refusal names its resource:', () => {
      test('if the body asks about it', async () => {
        const alice = await system.as('alice');
        const bob = await system.as('bob');
        await alice.createVault('asked');
        const explain = (principal: string, name?: string) =>
          bob.post('/access:explain', { principal, vault: 'asked', action: 'secret.read', name }).expect(404);
        const denied = { action: 'access.explain', decision: 'deny', rule: 'default-deny' } as const;
        await expectRecords(system, await explain('user:carla', 'db/password'), {
          ...denied,
          resource: { vault: 'asked', name: 'secret.read db/password', user: 'carla' },
        });
        await expectRecords(system, await explain('application:ci'), {
          ...denied,
          resource: { vault: 'asked', name: 'secret.read', application: 'ci' },
        });
        const question = { principal: 'user:alice', vault: 'asked', action: 'vault.read' };
        const explained = await alice.post('/access:explain', question).expect(200);
        const [allowed] = await recordsOf(system, explained);
        const vaultId = expect.any(String);
        expect(allowed!.resource).toEqual({ vault: 'asked', vaultId, name: 'vault.read', user: 'alice' });
      });

      test('if the body makes it', async () => {
        const [alice, carla] = [await system.as('alice'), await system.as('carla')];
        const refusals = [
          [alice.post('/users', { username: 'dora', role: 'admin', password: PASSWORD }), { user: 'dora' }],
          [alice.post('/applications', { name: 'robot' }), { application: 'robot' }],
          [carla.post('/vaults', { name: 'hoard' }), { vault: 'hoard' }],
        ] as const;
        for (const [sent, resource] of refusals) {
          const [record] = await recordsOf(system, await sent.expect(403));
          expect(record!.resource).toEqual(resource);
        }
      });

      test('an application by its name, separately from its credential', async () => {
        const alice = await system.as('alice');
        const id = '01890000-0000-7000-8000-000000000000';
        const refusals = [
          [alice.get('/applications/ci'), { application: 'ci' }],
          [alice.delete(`/applications/ci/credentials/${id}`), { application: 'ci', name: id }],
          [alice.delete(`/auth/sessions/${id}`), { name: id }],
          [alice.put('/vaults/none/grants/application:ci', {}), { vault: 'none', application: 'ci' }],
          [alice.delete('/vaults/none/grants/user:bob'), { vault: 'none', user: 'bob' }],
          [alice.delete('/vaults/none/grants/role:admin'), { vault: 'none', name: 'role:admin' }],
        ] as const;
        for (const [sent, resource] of refusals) {
          const [record] = await recordsOf(system, await sent);
          expect([record!.decision, record!.resource]).toEqual(['deny', resource]);
        }
      });

      test('but nothing that was typed to sign in', async () => {
        const typed = { username: 'alice', password: 'hunter2', otp: 'typed' };
        const [record] = await recordsOf(
          system,
          await clientAt(system, '192.0.2.8')
            .post('/auth/login', { ...typed, username: 'hunter2' })
            .expect(401),
        );
        expect(JSON.stringify(record)).not.toContain('hunter2');
      });
    });
  },
  { CARDEA_TRUSTED_PROXIES: '1' },
);

/** The owner of a token, as the audit log names them. */
function actorOf({ token }: Stranger, name: string): AuditActor {
  const { sub, sid, kind } = parseToken(token).claims as { sub: string; sid: string; kind: 'user' | 'application' };
  return { id: sub, type: kind, name, ...(kind === 'user' ? { session: sid } : { credential: sid }) };
}
