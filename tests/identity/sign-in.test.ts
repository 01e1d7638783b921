import { sha256Hex } from '@cardea/crypto/ids';
import { defaultPasswordCost } from '@cardea/crypto/password';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { query } from '../secrets/ground.ts';
import {
  clientAt,
  codeOf,
  countStatuses,
  createUser,
  expectRecords,
  nextTotpStep,
  recordsOf,
  signIn,
  turnOnTotp,
} from './identity.ts';
import type { Answer } from './identity.ts';

inEachProfile((system) => {
  system.settings['CARDEA_TRUSTED_PROXIES'] = '1';

  let addresses = 0;

  // A lock is short, and a slow machine must not outlast it.
  beforeEach(() => system.stopClock());
  afterEach(() => system.startClock());

  // Failures also count by address. One test must not lock out the next.
  const somewhere = () => clientAt(system, `203.0.113.${(addresses += 1)}`);
  const login = (body: object, from = somewhere()) => from.post('/auth/login', body);

  async function withTotp(username: string) {
    await createUser(system, { username, password: PASSWORD });
    const { person } = await signIn(system, { username }, somewhere());
    const totp = await turnOnTotp(system, person);
    nextTotpStep(system);
    return { person, ...totp };
  }

  describe('a failure', () => {
    test('is answered the same whatever is wrong, and only the audit log has the reason', async () => {
      await createUser(system, { username: 'disa', password: PASSWORD });
      await createUser(system, { username: 'expi', password: PASSWORD, ttlSeconds: 60 });
      const { oneTimePassword: once } = await createUser(system, { username: 'once' });
      await signIn(system, { username: 'once', password: String(once) }, somewhere());
      const admin = await system.as('admin');
      await admin.patch('/users/disa', { disabled: true }).expect(200);
      system.passTime(MINUTE_MS);
      const totp = await withTotp('tess');
      const used = codeOf(system, totp.uri);
      await signIn(system, { username: 'tess', otp: used }, somewhere());
      nextTotpStep(system);

      const unused = codeOf(system, totp.uri);
      const wrongCode = unused === '000000' ? '000001' : '000000';
      const failures: [{ username: string; password: unknown; otp?: string }, string][] = [
        [{ username: 'nobody', password: PASSWORD }, 'no-such-user'],
        [{ username: 'no name at all: ☃', password: PASSWORD }, 'no-such-user'],
        [{ username: 'alice', password: 'wrong' }, 'bad-password'],
        [{ username: 'alice', password: PASSWORD.toUpperCase() }, 'bad-password'],
        [{ username: 'tess', password: 'wrong', otp: unused }, 'bad-password'],
        [{ username: 'disa', password: PASSWORD }, 'user-disabled'],
        [{ username: 'disa', password: 'wrong' }, 'bad-password'],
        [{ username: 'expi', password: PASSWORD }, 'user-expired'],
        [{ username: 'once', password: once }, 'one-time-password-used'],
        [{ username: 'tess', password: PASSWORD }, 'otp-missing'],
        [{ username: 'tess', password: PASSWORD, otp: wrongCode }, 'otp-wrong'],
        [{ username: 'tess', password: PASSWORD, otp: used }, 'otp-used'],
      ];
      const seen = new Set<string>();
      for (const [body, rule] of failures) {
        const answer = await login(body).expect(401);
        const [record, ...more] = await recordsOf(system, answer);
        expect(more).toEqual([]);
        expect(record).toMatchObject({ action: 'auth.login', decision: 'deny', reason: 'unauthenticated', rule });
        expect(record!.actor).toEqual({ id: 'anonymous', type: 'anonymous' });
        expect(record!.resource).toEqual(rule === 'no-such-user' ? undefined : { user: body.username });
        seen.add(shapeOf(answer));
      }
      expect([...seen]).toEqual([expect.stringContaining('the username, the password or the code is wrong')]);
    });

    test('is recorded with its address, and never with the typed password', async () => {
      const typed = 'My-Secret-Password-1';
      const answer = await login({ username: typed, password: typed }, clientAt(system, '192.0.2.99')).expect(401);
      const records = await recordsOf(system, answer);
      expect(records).toEqual([expect.objectContaining({ source: { ip: '192.0.2.99' } })]);
      expect(JSON.stringify(records).toLowerCase()).not.toContain('secret');
    });

    test('names the account as stored, even while it is locked, and never an unknown name', async () => {
      await createUser(system, { username: 'nora', password: PASSWORD });
      const spelled = await login({ username: ' ＮＯＲＡ ', password: 'wrong' }).expect(401);
      await expectRecords(system, spelled, { rule: 'bad-password', resource: { user: 'nora' } });
      for (const [username, resource] of [
        ['nora', { user: 'nora' }],
        ['nora-who-is-not', undefined],
      ] as const) {
        const from = somewhere();
        for (let i = 0; i < 6; i += 1) await login({ username, password: 'wrong' }, from);
        const [record] = await recordsOf(system, await login({ username, password: 'wrong' }, from).expect(429));
        expect([record!.rule, record!.resource]).toEqual(['sign-in-throttle', resource]);
      }
    });
  });

  describe('TOTP', () => {
    test('is set up, confirmed and required, and its code works once', async () => {
      await createUser(system, { username: 'tom', password: PASSWORD });
      const { person } = await signIn(system, { username: 'tom' }, somewhere());
      const begun = await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200);
      expect(begun.body.uri).toMatch(/^otpauth:\/\/totp\/Cardea:tom\?secret=[A-Z2-7]{32}&/);
      await expectRecords(system, begun, { action: 'auth.totpSetUp', decision: 'allow', rule: 'self' });
      await signIn(system, { username: 'tom' }, somewhere());

      const uri = String(begun.body.uri);
      nextTotpStep(system);
      const code = codeOf(system, uri);
      const wrong = code === '000000' ? '000001' : '000000';
      const denied = await person.post('/auth/totp:confirm', { otp: wrong }).expect(403);
      await expectRecords(system, denied, { action: 'auth.totpConfirm', decision: 'deny', rule: 'otp-wrong' });
      const confirmed = await person.post('/auth/totp:confirm', { otp: code }).expect(200);
      await expectRecords(system, confirmed, { action: 'auth.totpConfirm', decision: 'allow' });
      await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(409);
      await person.post('/auth/totp:confirm', { otp: code }).expect(409);
      const admin = await system.as('admin');
      expect((await admin.get('/users/tom').expect(200)).body.totp).toBe(true);

      await login({ username: 'tom', password: PASSWORD }).expect(401);
      const usedUp = await login({ username: 'tom', password: PASSWORD, otp: code }).expect(401);
      await expectRecords(system, usedUp, { rule: 'otp-used' });
      nextTotpStep(system);
      const otp = codeOf(system, uri);
      const done = await login({ username: 'tom', password: PASSWORD, otp }).expect(200);
      await expectRecords(system, done, { action: 'auth.login', decision: 'allow', rule: 'password+totp' });
      await login({ username: 'tom', password: PASSWORD, otp }).expect(401);
      // The previous code is used up too, although its time is not over.
      const before = await login({ username: 'tom', password: PASSWORD, otp: code }).expect(401);
      await expectRecords(system, before, { rule: 'otp-used' });
    });

    test('that is turned off is not required any more, and a password reset turns it off', async () => {
      const { person, uri } = await withTotp('theo');
      await person.post('/auth/totp:disable', { otp: codeOf(system, uri) }).expect(204);
      await signIn(system, { username: 'theo' }, somewhere());

      await withTotp('tara');
      const admin = await system.as('admin');
      const { body } = await admin.post('/users/tara:resetPassword').expect(200);
      await signIn(system, { username: 'tara', password: body.oneTimePassword }, somewhere());
      expect((await admin.get('/users/tara').expect(200)).body.totp).toBe(false);
    });

    test('used with one code thirty times at once starts one session', async () => {
      const { uri } = await withTotp('toni');
      const body = { username: 'toni', password: PASSWORD, otp: codeOf(system, uri) };
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, i) => login(body, clientAt(system, `198.51.100.${i}`))),
      );
      const counts = countStatuses(answers);
      expect(counts[200]).toBe(1);
      expect(counts[401]).toBe(29);
      const rules = [];
      for (const answer of answers.filter(({ status }) => status === 401)) {
        rules.push(...(await recordsOf(system, answer)).map(({ rule }) => rule));
      }
      // After five codes of strangers, their next ones are not looked at.
      expect(rules.filter((rule) => rule !== 'otp-used' && rule !== 'sign-in-throttle')).toEqual([]);
      expect(rules).toHaveLength(29);
    });

    test('accepts each of ten recovery codes once, in any spelling', async () => {
      const { recoveryCodes } = await withTotp('rick');
      expect(new Set(recoveryCodes).size).toBe(10);
      const [first = '', second = ''] = recoveryCodes;
      const done = await login({ username: 'rick', password: PASSWORD, otp: first }).expect(200);
      await expectRecords(system, done, { action: 'auth.login', rule: 'password+recovery' });
      for (const otp of [first, first.toLowerCase(), ` ${first} `, first.replaceAll('-', '')]) {
        const again = await login({ username: 'rick', password: PASSWORD, otp }).expect(401);
        await expectRecords(system, again, { rule: 'recovery-code-unknown' });
      }
      const sloppy = second.toLowerCase().replaceAll('-', ' ');
      await login({ username: 'rick', password: PASSWORD, otp: sloppy }).expect(200);
      await login({ username: 'rick', password: PASSWORD, otp: second }).expect(401);
    });

    test('used with one recovery code twenty times at once starts one session', async () => {
      const { recoveryCodes } = await withTotp('rosa');
      const body = { username: 'rosa', password: PASSWORD, otp: recoveryCodes[0] };
      const answers = await Promise.all(Array.from({ length: 20 }, () => login(body)));
      expect(countStatuses(answers)[200]).toBe(1);
    });
  });

  /** Guesses as soon as allowed, until it had to wait `count` times. @returns each wait in seconds */
  async function guessUntilMadeToWait(username: string, count: number): Promise<number[]> {
    const from = somewhere();
    const waits: number[] = [];
    while (waits.length < count) {
      const answer = await login({ username, password: 'a guess' }, from);
      if (answer.status === 401) continue;
      await expectRecords(system, answer, { decision: 'deny', reason: 'rate_limited', rule: 'sign-in-throttle' });
      waits.push(Number(answer.headers['retry-after']));
      system.passTime(waits.at(-1)! * 1000);
    }
    return waits;
  }

  describe('guessing', () => {
    test.each([
      ['is', 'guy'],
      ['is not', 'gus'],
    ])('a password of a user who %s there costs ever longer waits', async (there, username) => {
      if (there === 'is') await createUser(system, { username, password: PASSWORD });
      const waits = await guessUntilMadeToWait(username, 9);
      expect(waits.map((wait) => Math.round(Math.log2(wait / 5)))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 7]);
      expect(waits.at(-1)).toBe(15 * 60);
    });

    test('locks the account there even for the right password; an admin sees the lock and lifts it', async () => {
      await createUser(system, { username: 'lena', password: PASSWORD });
      const from = somewhere();
      for (let i = 0; i < 6; i += 1) await login({ username: 'lena', password: `guess ${i}` }, from).expect(401);
      const locked = await login({ username: 'lena', password: PASSWORD }, from).expect(429);
      await expectRecords(system, locked, { action: 'auth.login', decision: 'deny', reason: 'rate_limited' });
      const admin = await system.as('admin');
      expect((await admin.get('/users/lena').expect(200)).body.locked).toBe(true);
      const listed = (await admin.get('/users?limit=500').expect(200)).body.items as {
        username: string;
        locked: boolean;
      }[];
      expect(listed.filter((user) => user.locked).map((user) => user.username)).toContain('lena');

      const lifted = await admin.post('/users/lena:unlock').expect(204);
      await expectRecords(system, lifted, { action: 'user.unlock', decision: 'allow', resource: { user: 'lena' } });
      expect((await admin.get('/users/lena').expect(200)).body.locked).toBe(false);
      await signIn(system, { username: 'lena' }, from);
      await admin.post('/users/nobody:unlock').expect(404);
    });

    test('is possible again when the lock expires, and a right password resets the count', async () => {
      await createUser(system, { username: 'leo', password: PASSWORD });
      const from = somewhere();
      const fail = async (times: number) => {
        for (let i = 0; i < times; i += 1) await login({ username: 'leo', password: `guess ${i}` }, from).expect(401);
      };
      await fail(6);
      await login({ username: 'leo', password: PASSWORD }, from).expect(429);
      system.passTime(5_000);
      await signIn(system, { username: 'leo' }, from);
      await fail(5);
      await signIn(system, { username: 'leo' }, from);
      await fail(6);
      await login({ username: 'leo', password: PASSWORD }, from).expect(429);
      system.passTime(HOUR_MS);
      await fail(5);
    });

    test('lasts as long as it should after a clock that ran ahead was set right', async () => {
      await createUser(system, { username: 'clara', password: PASSWORD });
      const [home, from] = [somewhere(), somewhere()];
      const right = () => login({ username: 'clara', password: PASSWORD }, home);
      system.passTime(2 * HOUR_MS);
      for (let i = 0; i < 6; i += 1) await login({ username: 'clara', password: `guess ${i}` }, home).expect(401);
      for (let i = 0; i < 51; i += 1) await login({ username: `clara-${i}`, password: 'guess' }, from).expect(401);
      system.passTime(-2 * HOUR_MS);

      const [name, address] = [
        await right().expect(429),
        await login({ username: 'x', password: 'x' }, from).expect(429),
      ];
      for (const { headers } of [name, address]) expect(Number(headers['retry-after'])).toBeLessThanOrEqual(5);
      const record = { action: 'auth.login', decision: 'deny', rule: 'sign-in-throttle' } as const;
      await expectRecords(system, name, { ...record, resource: { user: 'clara' } });
      await expectRecords(system, address, record);
      // A lock of five seconds, which the tries in between do not make longer.
      system.passTime(3_000);
      await right().expect(429);
      system.passTime(2_000);
      await right().expect(200);
      await signIn(system, { username: 'alice' }, from);
    });

    test('does not make a session last longer that began while a clock ran ahead', async () => {
      await createUser(system, { username: 'cleo', password: PASSWORD });
      system.passTime(2 * HOUR_MS);
      const { person } = await signIn(system, { username: 'cleo' }, somewhere());
      await person.get('/auth/me').expect(200);
      system.passTime(-2 * HOUR_MS);
      const answer = await person.get('/auth/me').expect(401);
      await expectRecords(system, answer, { decision: 'deny', rule: 'token-expired' });
      await signIn(system, { username: 'cleo' }, somewhere());
    });

    test('a hundred passwords at once counts as a hundred guesses: six are checked', async () => {
      await createUser(system, { username: 'hugo', password: PASSWORD });
      for (const username of ['hugo', 'hugo-who-is-not']) {
        const from = somewhere();
        const answers = await Promise.all(
          Array.from({ length: 100 }, (_, i) => login({ username, password: `guess ${i}` }, from)),
        );
        expect(countStatuses(answers)).toEqual({ 401: 6, 429: 94 });
      }
    });

    test('from one address with any names locks the address and no other one', async () => {
      const from = somewhere();
      const guess = (from: number, to: number, address: Stranger) =>
        Promise.all(
          Array.from({ length: to - from }, (_, i) =>
            login({ username: `somebody-${from + i}`, password: 'guess' }, address),
          ),
        );
      for (let i = 0; i < 50; i += 10) expect(countStatuses(await guess(i, i + 10, from))).toEqual({ 401: 10 });
      await guess(50, 51, from);
      expect(countStatuses(await guess(51, 60, from))).toEqual({ 429: 9 });
      await login({ username: 'alice', password: PASSWORD }, from).expect(429);
      await signIn(system, { username: 'alice' }, somewhere());
    });

    test('from all addresses of one IPv6 network locks the network', async () => {
      const at = (host: number, net = 'a') => clientAt(system, `2001:db8:0:${net}::${host.toString(16)}`);
      for (let i = 0; i < 51; i += 1) {
        await login({ username: `one-of-many-${i}`, password: 'guess' }, at(i)).expect(401);
      }
      await login({ username: 'alice', password: PASSWORD }, at(99)).expect(429);
      await signIn(system, { username: 'alice' }, at(99, 'b'));
    });

    test('updates the rows of the address and of strangers to the account, and a success writes neither', async () => {
      await createUser(system, { username: 'bert', password: PASSWORD });
      const from = clientAt(system, '203.0.113.250');
      const shared = () =>
        query(
          system,
          `select subject, failures, last_at, locked_until
             from sign_in_failure
            where subject = 'user:${sha256Hex('bert')}'
               or subject = 'address:203.0.113.250'
            order by subject`,
        );
      await login({ username: 'bert', password: 'wrong' }, from).expect(401);
      const before = await shared();
      expect(before).toHaveLength(2);
      system.passTime(1_000);
      await signIn(system, { username: 'bert' }, from);
      expect(await shared()).toEqual(before);
      await login({ username: 'bert', password: 'wrong' }, from).expect(401);
      expect(await shared()).not.toEqual(before);
    });
  });

  describe('what others did', () => {
    let networks = 0;
    const anywhere = () => clientAt(system, `10.${(networks += 1) >> 8}.${networks & 255}.1`);

    /** Guesses of as many strangers at once as can wait for their turn. */
    async function guess(count: number, nameOf: (i: number) => string): Promise<void> {
      for (let i = 0; i < count; i += 20) {
        const some = Array.from({ length: 20 }, (_, k) =>
          login({ username: nameOf(i + k), password: 'a guess' }, anywhere()),
        );
        expect(countStatuses(await Promise.all(some))).toEqual({ 401: 20 });
      }
    }

    test('neither keeps the right password of a usual address out, nor its owner from changing it', async () => {
      await createUser(system, { username: 'olga', password: PASSWORD });
      const home = somewhere();
      const { person } = await signIn(system, { username: 'olga' }, home);
      await guess(100, () => 'olga');
      // A colleague at the same address is locked there.
      for (let i = 0; i < 51; i += 1) await login({ username: `colleague-${i}`, password: 'x' }, home).expect(401);
      await login({ username: 'alice', password: PASSWORD }, home).expect(429);

      const right = await login({ username: 'olga', password: PASSWORD }, home).expect(200);
      await expectRecords(system, right, { action: 'auth.login', decision: 'allow', rule: 'password' });
      const newPassword = 'another horse battery 7';
      const changed = await person.post('/auth/password', { currentPassword: PASSWORD, newPassword }).expect(204);
      await expectRecords(system, changed, { action: 'auth.password', decision: 'allow', rule: 'self' });
      // Strangers have to wait for their turn, and are not refused.
      await login({ username: 'olga', password: newPassword }, anywhere()).expect(200);
    });

    test('makes strangers to the account take turns: one a second, and no more than can wait', async () => {
      await createUser(system, { username: 'otto', password: PASSWORD });
      await guess(100, () => 'otto');
      const answers = await Promise.all(
        Array.from({ length: 16 }, () => login({ username: 'otto', password: 'a guess' }, anywhere())),
      );
      // One at once, and one for each of the ten seconds that somebody may wait.
      expect(countStatuses(answers)).toEqual({ 401: 11, 429: 5 });
      const refused = answers.find(({ status }) => status === 429)!;
      await expectRecords(system, refused, { rule: 'sign-in-throttle', resource: { user: 'otto' } });
      const admin = await system.as('admin');
      // Without this, there would be no turn.
      await admin.post('/users/otto:unlock').expect(204);
      await signIn(system, { username: 'otto' }, anywhere());
    });

    test('with a stolen session keeps the owner neither from another session nor from sign-in', async () => {
      await createUser(system, { username: 'olaf', password: PASSWORD });
      const home = somewhere();
      const [stolen, own] = [
        await signIn(system, { username: 'olaf' }, home),
        await signIn(system, { username: 'olaf' }, home),
      ];
      const body = { currentPassword: 'a guess', newPassword: 'another horse battery 7' };
      for (let i = 0; i < 6; i += 1) await stolen.person.post('/auth/password', body).expect(403);
      const refused = await stolen.person.post('/auth/password', { ...body, currentPassword: PASSWORD }).expect(429);
      await expectRecords(system, refused, { action: 'auth.password', rule: 'sign-in-throttle' });
      await stolen.person.post('/auth/totp', { currentPassword: PASSWORD }).expect(429);
      await signIn(system, { username: 'olaf' }, home);
      await own.person.post('/auth/password', { ...body, currentPassword: PASSWORD }).expect(204);
      await stolen.person.get('/auth/me').expect(401);
    });

    if (system.profile === 'mini') {
      // In profile mini only: it takes long, and the rows are the same.
      test('two thousand times from many networks with any names refuses nobody', async () => {
        await guess(2_020, (i) => `someone-${i}`);
        await signIn(system, { username: 'alice' }, anywhere());
        await signIn(system, { username: 'bob' }, somewhere());
      }, 300_000);
    }
  });

  test('a password hashed at another cost is hashed at today’s cost when its owner signs in, and only then', async () => {
    await createUser(system, { username: 'hana', password: PASSWORD });
    const hashOf = async (): Promise<string> => {
      const [row] = await query<{ password_hash: string }>(
        system,
        `select password_hash from app_user where username = 'hana'`,
      );
      return row!.password_hash;
    };
    const cheap = system.passwordCost;
    expect(await hashOf()).toContain(`m=${cheap.memoryKib},t=${cheap.passes},p=1`);
    try {
      await restartAt({ memoryKib: 2_048, passes: 2, parallelism: 1 });
      const old = await hashOf();
      await login({ username: 'hana', password: 'wrong' }).expect(401);
      expect(await hashOf()).toBe(old);
      await signIn(system, { username: 'hana' }, somewhere());
      const fresh = await hashOf();
      expect(fresh).toContain('m=2048,t=2,p=1');
      await signIn(system, { username: 'hana' }, somewhere());
      expect(await hashOf()).toBe(fresh);
    } finally {
      await restartAt(cheap);
    }
  });

  if (system.profile === 'mini') {
    test('beyond the queue passwords are answered 503, recorded, and accepted later', async () => {
      const cheap = system.passwordCost;
      try {
        await restartAt(defaultPasswordCost);
        // On a slow machine some passwords would have been checked before the last ones come.
        letInTogether(48);
        const answers = await Promise.all(
          Array.from({ length: 48 }, (_, i) => login({ username: `crowd-${i}`, password: PASSWORD })),
        );
        const { 401: wrong = 0, 503: full = 0, ...others } = countStatuses(answers);
        expect(others).toEqual({});
        expect(wrong).toBeGreaterThanOrEqual(34);
        expect(full).toBeGreaterThan(0);
        const refused = answers.find(({ status }) => status === 503)!;
        expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
        await expectRecords(system, refused, { action: 'auth.login', decision: 'deny', reason: 'unavailable' });
        const counts = await Promise.all(answers.map((_, i) => failuresOf(`crowd-${i}`)));
        expect(counts).toEqual(answers.map(({ status }) => (status === 401 ? 1 : 0)));
        await signIn(system, { username: 'alice' }, somewhere());
      } finally {
        await restartAt(cheap);
      }
    });
  }

  if (system.profile === 'mini') {
    test('from a new network is not kept waiting by a caller who sends one password after the other', async () => {
      const cheap = system.passwordCost;
      await createUser(system, { username: 'looper', password: PASSWORD });
      await createUser(system, { username: 'arriving', password: PASSWORD });
      try {
        await restartAt(defaultPasswordCost);
        const { person } = await signIn(system, { username: 'looper' }, somewhere());
        const most = 32;
        let done = 0;
        const answered = new AbortController();
        const begun = Promise.withResolvers<void>();
        const looping = Array.from({ length: 4 }, async () => {
          while (!answered.signal.aborted && done < most) {
            await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200);
            done += 1;
            begun.resolve();
          }
        });
        await begun.promise;
        const answer = await login({ username: 'arriving', password: PASSWORD }).expect(200);
        answered.abort();
        expect(done).toBeLessThan(most / 2);
        await expectRecords(system, answer, { action: 'auth.login', decision: 'allow', rule: 'password' });
        await Promise.all(looping);
      } finally {
        await restartAt(cheap);
      }
    });
  }

  async function failuresOf(username: string): Promise<number> {
    const db = system.openDatabase();
    try {
      const [row] = await db.query<{ failures: number }>(`select failures from sign_in_failure where subject = $1`, [
        `user:${sha256Hex(username)}`,
      ]);
      return row?.failures ?? 0;
    } finally {
      await db.close();
    }
  }

  /** Keeps the next changes of callers until so many have come. */
  function letInTogether(count: number): void {
    const { db } = system.vault;
    const { transaction } = db;
    const all = Promise.withResolvers<void>();
    let waiting = 0;
    db.transaction = async (work, locks) => {
      if (locks?.by === undefined) return transaction(work, locks);
      if ((waiting += 1) === count) {
        db.transaction = transaction;
        all.resolve();
      }
      await all.promise;
      return transaction(work, locks);
    };
  }

  async function restartAt(cost: TestSystem['passwordCost']): Promise<void> {
    system.passwordCost = cost;
    await system.stopService('api');
    await system.startService('api');
  }
});

// An answer without the parts that differ each time.
function shapeOf({ body, headers }: Answer): string {
  const { requestId: _id, ...problem } = body;
  const { 'x-request-id': _requestId, date: _date, ...rest } = headers;
  const fields = Object.entries(rest).filter(([name]) => !name.startsWith('ratelimit'));
  return JSON.stringify([problem, fields]);
}
