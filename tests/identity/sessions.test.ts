import { inEachProfile } from '@cardea/testkit/use-system';
import { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { DAY_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';
import { createForger, parseToken } from './forged-tokens.ts';
import { countStatuses, createUser, expectRecords, recordsOf, signIn, startReplica } from './identity.ts';
import type { Answer } from './identity.ts';

/** An address may have 64 requests without a token under way. */
const AT_ONCE = 60;

const GRACE_MS = 10_000;
const BROWSER = { 'User-Agent': 'browser/1', 'X-Forwarded-For': '192.0.2.1' };

inEachProfile((system) => {
  system.settings['CARDEA_TRUSTED_PROXIES'] = '1';

  const browser = () => system.stranger.with(BROWSER);
  const refresh = (token: string, from = browser()) => from.post('/auth/refresh', { refresh_token: token });
  const accessOf = ({ body }: { body: Record<string, unknown> }) => browser().withToken(String(body['access_token']));

  async function sessionRows(refreshTokens: 'refresh_token' | 'session', userId: unknown): Promise<unknown[]> {
    const tables = { refresh_token: 'refresh_token r join session s on s.id = r.session_id', session: 'session s' };
    return query(system, `select s.id from ${tables[refreshTokens]} where s.user_id = $1`, [String(userId)]);
  }

  /** Expects the session to be refused at once, and the log to say why. */
  async function expectEndedByReuse(answer: Answer, ...people: Stranger[]): Promise<void> {
    const suspicious = { rule: 'refresh-reuse', suspicious: 'refresh_reuse' } as const;
    expect([answer.status, answer.body['code']]).toEqual([401, 'unauthenticated']);
    for (const person of people) {
      const dead = await person.get('/auth/me').expect(401);
      await expectRecords(system, dead, { action: 'auth.me', decision: 'deny', rule: 'session-ended' });
    }
    await expectRecords(
      system,
      answer,
      { action: 'session.end', decision: 'allow', ...suspicious },
      { action: 'auth.refresh', decision: 'deny', ...suspicious },
    );
  }

  describe('a refresh token', () => {
    test('gives a new pair of tokens for the same session, which continues', async () => {
      const { person, refreshToken } = await signIn(system, { username: 'alice' }, browser());
      const answer = await refresh(refreshToken).expect(200);
      expect(answer.body).toEqual({
        access_token: expect.stringMatching(/^[\w-]+\.[\w-]+\.[\w-]+$/),
        token_type: 'Bearer',
        expires_in: 300,
        refresh_token: expect.stringMatching(/^[\w-]{43}$/),
      });
      expect(answer.body.refresh_token).not.toBe(refreshToken);
      await expectRecords(system, answer, { action: 'auth.refresh', decision: 'allow', rule: 'refresh-token' });
      expect(parseToken(answer.body.access_token).claims['sid']).toBe(parseToken(person.token).claims['sid']);
      await accessOf(answer).get('/auth/me').expect(200);
      await person.get('/auth/me').expect(200);
      await refresh(successorOf(answer)).expect(200);
    });

    test('used again within ten seconds by the same client gives the same successor', async () => {
      const user = await createUser(system, { username: 'greta', password: PASSWORD });
      const { refreshToken } = await signIn(system, { username: 'greta' }, browser());
      const first = await refresh(refreshToken).expect(200);
      system.passTime(GRACE_MS - 2_000);
      const again = await refresh(refreshToken).expect(200);
      expect(successorOf(again)).toBe(successorOf(first));
      await expectRecords(system, again, { action: 'auth.refresh', decision: 'allow', rule: 'refresh-repeat' });
      expect(await sessionRows('refresh_token', user['id'])).toHaveLength(2);
      await refresh(successorOf(again)).expect(200);
      expect(await sessionRows('refresh_token', user['id'])).toHaveLength(3);
    });

    test('used again after ten seconds ends the session at once', async () => {
      const { person, refreshToken } = await signIn(system, { username: 'alice' }, browser());
      const first = await refresh(refreshToken).expect(200);
      system.passTime(GRACE_MS + 1);
      const stolen = await refresh(refreshToken);
      await expectEndedByReuse(stolen, person, accessOf(first));
      await refresh(successorOf(first)).expect(401);
    });

    test.each([
      ['user agent', { ...BROWSER, 'User-Agent': 'thief/1' }],
      ['address', { ...BROWSER, 'X-Forwarded-For': '192.0.2.2' }],
    ])('used again from another %s ends the session at once, however soon', async (_what, headers) => {
      const other = await signIn(system, { username: 'alice' }, browser());
      const { person, refreshToken } = await signIn(system, { username: 'alice' }, browser());
      const first = await refresh(refreshToken).expect(200);
      const stolen = await refresh(refreshToken, system.stranger.with(headers));
      await expectEndedByReuse(stolen, person, accessOf(first));
      await other.person.get('/auth/me').expect(200);
    });

    test('used again after its successor was used ends the session at once, even by the same client', async () => {
      const { person, refreshToken } = await signIn(system, { username: 'alice' }, browser());
      const second = await refresh(successorOf(await refresh(refreshToken).expect(200))).expect(200);
      const stolen = await refresh(refreshToken);
      await expectEndedByReuse(stolen, person, accessOf(second));
    });

    test('used sixty times at once by one client has one successor, and by two clients ends the session', async () => {
      const user = await createUser(system, { username: 'hera', password: PASSWORD });
      const { refreshToken } = await signIn(system, { username: 'hera' }, browser());
      const replica = system.profile === 'full' ? await startReplica(system) : undefined;
      const doors = [browser(), replica ? new Stranger(replica.url).with(BROWSER) : browser()];
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => refresh(refreshToken, doors[i % 2])));
      await replica?.stop();
      expect(countStatuses(answers)).toEqual({ 200: AT_ONCE });
      expect(new Set(answers.map(successorOf)).size).toBe(1);
      expect(await sessionRows('refresh_token', user['id'])).toHaveLength(2);
      const admin = await system.as('admin');
      const rules = (await admin.auditEntries({ action: 'auth.refresh', actor: String(user['id']) })).map(
        ({ event }) => event.rule,
      );
      expect(rules.filter((rule) => rule === 'refresh-token')).toHaveLength(1);
      expect(rules.filter((rule) => rule === 'refresh-repeat')).toHaveLength(AT_ONCE - 1);
      await accessOf(answers.at(-1)!).get('/auth/me').expect(200);

      const next = successorOf(answers[0]!);
      const thief = browser().with({ 'User-Agent': 'thief/1' });
      const race = await Promise.all(
        Array.from({ length: AT_ONCE }, (_, i) => refresh(next, i % 2 === 0 ? browser() : thief)),
      );
      const winners = race.filter(({ status }) => status === 200);
      expect(new Set(winners.map(successorOf)).size).toBeLessThanOrEqual(1);
      expect(countStatuses(race)[401]).toBe(AT_ONCE - winners.length);
      for (const winner of winners.slice(0, 3)) await accessOf(winner).get('/auth/me').expect(401);
      await refresh(next).expect(401);
      const ends = await admin.auditEntries({ action: 'session.end', actor: String(user['id']) });
      expect(ends.length).toBeGreaterThanOrEqual(1);
      expect(new Set(ends.map(({ event }) => event.suspicious))).toEqual(new Set(['refresh_reuse']));
    });

    test.each([
      ['nobody made', 'A'.repeat(43)],
      ['is random text', 'x'],
    ])('that %s is suspicious', async (_what, token) => {
      const unknown = await refresh(token).expect(401);
      const [record, ...more] = await recordsOf(system, unknown);
      expect(more).toEqual([]);
      expect(record).toMatchObject({
        action: 'auth.refresh',
        decision: 'deny',
        rule: 'refresh-unknown',
        suspicious: 'refresh_unknown',
        actor: { id: 'anonymous' },
      });
    });

    test('is refused without suspicion after its session or its user has ended', async () => {
      const admin = await system.as('admin');
      const ends: [string, string, (person: Stranger, name: string) => Promise<unknown>][] = [
        ['signed-out', 'session-ended', (person) => person.post('/auth/logout').expect(204)],
        ['closed', 'session-ended', (_, name) => admin.patch(`/users/${name}`, { disabled: true }).expect(200)],
        ['expired', 'user-expired', async () => system.passTime(2 * MINUTE_MS)],
      ];
      for (const [username, rule, end] of ends) {
        await createUser(system, { username, password: PASSWORD, ttlSeconds: 100 });
        const { person, refreshToken } = await signIn(system, { username }, browser());
        await end(person, username);
        const refused = await refresh(refreshToken).expect(401);
        const records = await recordsOf(system, refused);
        expect(records).toEqual([expect.objectContaining({ action: 'auth.refresh', decision: 'deny', rule })]);
        expect(records[0]).not.toHaveProperty('suspicious');
      }
    });

    test('renews a session for twelve hours and no longer, and is still recognised after the sweep', async () => {
      let { refreshToken } = await signIn(system, { username: 'alice' }, browser());
      for (let hour = 1; hour < 12; hour += 1) {
        system.passTime(60 * MINUTE_MS);
        refreshToken = successorOf(await refresh(refreshToken).expect(200));
      }
      system.passTime(60 * MINUTE_MS);
      await expectRecords(system, await refresh(refreshToken).expect(401), { rule: 'session-expired' });
      await system.runJob('session.sweep', {});
      const [record] = await recordsOf(system, await refresh(refreshToken).expect(401));
      expect(record).not.toHaveProperty('suspicious');
    });
  });

  describe("the list of the caller's sessions", () => {
    test('says where each began, newest first, and marks the current one', async () => {
      await createUser(system, { username: 'lila', password: PASSWORD });
      await signIn(system, { username: 'lila' }, browser());
      const phone = browser().with({ 'User-Agent': 'phone/2', 'X-Forwarded-For': '2001:db8::7' });
      const { person } = await signIn(system, { username: 'lila' }, phone);
      const answer = await person.get('/auth/sessions').expect(200);
      const common = { id: expect.any(String), createdAt: expect.any(String), expiresAt: expect.any(String) };
      expect(answer.body.items).toEqual([
        { ...common, current: true, ip: '2001:db8::7', userAgent: 'phone/2' },
        { ...common, current: false, ip: '192.0.2.1', userAgent: 'browser/1' },
      ]);
      await expectRecords(system, answer, { action: 'session.list', decision: 'allow', resource: { count: 2 } });
    });

    test('ends one session at a time, and an ended one does not exist', async () => {
      await createUser(system, { username: 'lola', password: PASSWORD });
      const old = await signIn(system, { username: 'lola' }, browser());
      const { person } = await signIn(system, { username: 'lola' }, browser());
      const { body } = await person.get('/auth/sessions').expect(200);
      const { id } = body.items.find((session: { current: boolean }) => !session.current) as { id: string };
      const ended = await person.delete(`/auth/sessions/${id}`).expect(204);
      await expectRecords(system, ended, { action: 'session.end', decision: 'allow', rule: 'self' });
      await old.person.get('/auth/me').expect(401);
      await refresh(old.refreshToken).expect(401);
      await person.delete(`/auth/sessions/${id}`).expect(404);
      expect((await person.get('/auth/sessions').expect(200)).body.items).toHaveLength(1);
    });

    test('loses a session from the database a week after its end, with its tokens', async () => {
      const user = await createUser(system, { username: 'lara', password: PASSWORD });
      const { person } = await signIn(system, { username: 'lara' }, browser());
      await person.post('/auth/logout').expect(204);
      await system.runJob('session.sweep', {});
      expect(await sessionRows('session', user['id'])).toHaveLength(1);
      system.passTime(7 * DAY_MS + MINUTE_MS);
      await system.runJob('session.sweep', {});
      expect(await sessionRows('session', user['id'])).toEqual([]);
      expect(await sessionRows('refresh_token', user['id'])).toEqual([]);
    });
  });

  describe('an access token', () => {
    test('is valid for 300 seconds', async () => {
      const { person } = await signIn(system, { username: 'alice' }, browser());
      const { iat, exp } = parseToken(person.token).claims as { iat: number; exp: number };
      expect(exp - iat).toBe(300);
      system.passTime(exp * 1000 - system.now().getTime() - 5_000);
      await person.get('/auth/me').expect(200);
      system.passTime(exp * 1000 - system.now().getTime());
      const ended = await person.get('/auth/me').expect(401);
      await expectRecords(system, ended, { action: 'auth.me', decision: 'deny', rule: 'token-expired' });
      expect((await recordsOf(system, ended))[0]).not.toHaveProperty('suspicious');
    });

    test('is signed by a new key each day; tokens of the old key work until they expire, and then the key is removed', async () => {
      const signInNow = async () => (await signIn(system, { username: 'alice' }, browser())).person;
      system.passTime(DAY_MS);
      const before = await signInNow();
      await system.runJob('signing-key.rotate', {});
      await system.runJob('signing-key.rotate', {});
      const db = system.openDatabase();
      const keys = () => db.query<{ id: string }>(`select id from signing_key where purpose = 'access' order by id`);
      expect((await keys()).map(({ id }) => id)).toEqual([kidOf(before), expect.any(String)]);
      const recorded = async (action: string) =>
        (await (await system.as('admin')).auditEntries({ action })).map(
          ({ event: { actor, rule, reason, resource } }) => {
            expect(actor).toEqual({ id: 'cardea', type: 'service' });
            return [rule, reason, resource?.name];
          },
        );
      expect((await recorded('signingKey.create'))[0]).toEqual(['daily', 'access', (await keys())[1]!.id]);
      expect(await recorded('signingKey.delete')).toEqual([]);

      system.passTime(MINUTE_MS + 1_000);
      const after = await signInNow();
      expect(kidOf(after)).toBe((await keys())[1]!.id);
      const { sign, claims } = await createForger(system, before.token);
      const nowSeconds = () => Math.floor(system.now().getTime() / 1000);
      const ofOldKey = () =>
        browser().withToken(sign({ claims: { ...claims, iat: nowSeconds(), exp: nowSeconds() + 300 } }));
      for (const person of [before, ofOldKey(), after]) await person.get('/auth/me').expect(200);

      system.passTime(10 * MINUTE_MS);
      await system.runJob('signing-key.rotate', {});
      await system.runJob('signing-key.rotate', {});
      expect((await keys()).map(({ id }) => id)).toEqual([kidOf(after)]);
      expect(await recorded('signingKey.delete')).toEqual([['replaced', 'access', kidOf(before)]]);
      await db.close();
      const forged = { decision: 'deny', rule: 'token-unknown-key', suspicious: 'token_unknown_key' } as const;
      await expectRecords(system, await ofOldKey().get('/auth/me').expect(401), forged);
      await (await signInNow()).get('/auth/me').expect(200);
    });
  });
});

function successorOf({ body }: { body: Record<string, unknown> }): string {
  return String(body['refresh_token']);
}

function kidOf({ token }: Stranger): unknown {
  return parseToken(token).header['kid'];
}
