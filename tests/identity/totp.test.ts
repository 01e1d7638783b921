import { inEachProfile } from '@cardea/testkit/use-system';
import type { Stranger } from '@cardea/testkit/person';
import { PASSWORD } from '@cardea/testkit/system';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { clientAt, codeOf, countStatuses, createUser, expectRecords, nextTotpStep, signIn } from './identity.ts';
import { turnOnTotp } from './identity.ts';

inEachProfile((system) => {
  system.settings['CARDEA_TRUSTED_PROXIES'] = '1';

  let addresses = 0;

  // A code and a lock are short, and a slow machine must not outlast them.
  beforeEach(() => system.stopClock());
  afterEach(() => system.startClock());

  // Failures also count by address. One test must not lock out the next.
  const somewhere = () => clientAt(system, `203.0.113.${(addresses += 1)}`);

  async function newUser(username: string): Promise<Stranger> {
    await createUser(system, { username, password: PASSWORD });
    return (await signIn(system, { username }, somewhere())).person;
  }

  async function withTotp(username: string) {
    const person = await newUser(username);
    const totp = await turnOnTotp(system, person);
    nextTotpStep(system);
    return { person, ...totp };
  }

  async function isOn(username: string): Promise<boolean> {
    const { body } = await (await system.as('admin')).get(`/users/${username}`).expect(200);
    return (body as { totp: boolean }).totp;
  }

  // Many refusals of one kind share a record.
  async function expectThrottled(action: string, username: string): Promise<void> {
    const denied = await (await system.as('admin')).auditEntries({ action, decision: 'deny' });
    const rules = denied.filter(({ event }) => event.actor.name === username).map(({ event }) => event.rule);
    expect(rules).toContain('sign-in-throttle');
  }

  test('confirmed a hundred times at once is confirmed once, and the recovery codes of that answer work', async () => {
    const person = await newUser('connie');
    const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
      uri: string;
    };
    const otp = codeOf(system, uri);
    const answers = await Promise.all(Array.from({ length: 100 }, () => person.post('/auth/totp:confirm', { otp })));
    const { 200: confirmedOnce, 409: tooLate = 0, 429: tooMany = 0 } = countStatuses(answers);
    expect([confirmedOnce, tooLate + tooMany]).toEqual([1, 99]);
    const winner = answers.find(({ status }) => status === 200)!;
    await expectRecords(system, winner, { action: 'auth.totpConfirm', decision: 'allow' });
    const [code] = (winner.body as { recoveryCodes: string[] }).recoveryCodes;
    await signIn(system, { username: 'connie', otp: code! }, somewhere());
  });

  test('set up and confirmed at once is on with the secret whose code was sent, or not on', async () => {
    for (let round = 0; round < 5; round += 1) {
      const username = `connor-${round}`;
      const person = await newUser(username);
      const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
        uri: string;
      };
      const otp = codeOf(system, uri);
      const [confirmed, again] = await Promise.all([
        person.post('/auth/totp:confirm', { otp }),
        person.post('/auth/totp', { currentPassword: PASSWORD }),
      ]);
      expect([200, 403, 409]).toContain(confirmed.status);
      expect(await isOn(username)).toBe(confirmed.status === 200);
      // One of them was first. Both would leave one secret on and another one shown last.
      if (confirmed.status === 200) expect(again.status).toBe(409);
    }
  });

  test('is not set up by a stolen session: it asks for the current password, which cannot be guessed there', async () => {
    const thief = await newUser('cora');
    const without = await thief.post('/auth/totp').expect(400);
    await expectRecords(system, without, { action: 'auth.totpSetUp', decision: 'deny', reason: 'invalid_request' });
    const guesses = Array.from({ length: 30 }, (_, i) => thief.post('/auth/totp', { currentPassword: `guess ${i}` }));
    const answers = await Promise.all(guesses);
    const { 403: wrong, 429: tooMany } = countStatuses(answers);
    expect([wrong, tooMany]).toEqual([6, 24]);
    const denied = answers.find(({ status }) => status === 403)!;
    await expectRecords(system, denied, { action: 'auth.totpSetUp', decision: 'deny', rule: 'bad-password' });
    await thief.post('/auth/totp', { currentPassword: PASSWORD }).expect(429);
    await expectThrottled('auth.totpSetUp', 'cora');

    system.passTime(MINUTE_MS);
    const owner = (await signIn(system, { username: 'cora' }, somewhere())).person;
    await owner.post('/auth/totp:confirm', { otp: '000000' }).expect(409);
    expect(await isOn('cora')).toBe(false);
  });

  test('is not turned on by guessing the first code', async () => {
    const person = await newUser('cody');
    const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
      uri: string;
    };
    nextTotpStep(system);
    const right = codeOf(system, uri);
    const guesses = Array.from({ length: 30 }, (_, i) => String(100_000 + i)).filter((guess) => guess !== right);
    const answers = await Promise.all(guesses.map((otp) => person.post('/auth/totp:confirm', { otp })));
    const { 403: wrong, 429: tooMany } = countStatuses(answers);
    expect([wrong, tooMany]).toEqual([6, guesses.length - 6]);
    await person.post('/auth/totp:confirm', { otp: right }).expect(429);
    await expectThrottled('auth.totpConfirm', 'cody');
    expect(await isOn('cody')).toBe(false);
  });

  test('that is not confirmed is forgotten when the password changes: a thief may have set it up', async () => {
    const person = await newUser('cleo');
    const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
      uri: string;
    };
    const changed = { currentPassword: PASSWORD, newPassword: 'another long enough one' };
    await person.post('/auth/password', changed).expect(204);
    const refused = await person.post('/auth/totp:confirm', { otp: codeOf(system, uri) }).expect(409);
    await expectRecords(system, refused, { action: 'auth.totpConfirm', decision: 'deny', rule: 'totp-off' });
    expect(await isOn('cleo')).toBe(false);
  });

  test('is turned off by an unused code', async () => {
    const { person, uri } = await withTotp('dan');
    const used = codeOf(system, uri);
    await signIn(system, { username: 'dan', otp: used }, somewhere());
    const again = await disable(person, used).expect(403);
    await expectRecords(system, again, { action: 'auth.totpDisable', decision: 'deny', rule: 'otp-used' });
    nextTotpStep(system);
    const unused = codeOf(system, uri);
    const wrong = await disable(person, unused === '000000' ? '000001' : '000000').expect(403);
    await expectRecords(system, wrong, { action: 'auth.totpDisable', decision: 'deny', rule: 'otp-wrong' });
    expect(await isOn('dan')).toBe(true);

    const done = await disable(person, unused).expect(204);
    await expectRecords(system, done, { action: 'auth.totpDisable', decision: 'allow', rule: 'self+totp' });
    await signIn(system, { username: 'dan' }, somewhere());
    await disable(person, unused).expect(409);
  });

  test('is turned off by a recovery code, and the other recovery codes are removed', async () => {
    const { person, recoveryCodes } = await withTotp('dave');
    const [first = '', second = ''] = recoveryCodes;
    const unknown = await disable(person, 'AAAAA-AAAAA-AAAAA-AAAAA').expect(403);
    await expectRecords(system, unknown, { decision: 'deny', rule: 'recovery-code-unknown' });
    const done = await disable(person, first).expect(204);
    await expectRecords(system, done, { action: 'auth.totpDisable', decision: 'allow', rule: 'self+recovery' });
    const { uri } = (await person.post('/auth/totp', { currentPassword: PASSWORD }).expect(200)).body as {
      uri: string;
    };
    await person.post('/auth/totp:confirm', { otp: codeOf(system, uri) }).expect(200);
    await disable(person, second).expect(403);
  });

  test('that is on cannot be removed by a stolen session alone; one that was never confirmed can', async () => {
    const { person } = await withTotp('dirk');
    const refused = await person.delete('/auth/totp').expect(409);
    expect(refused.body.detail).toContain('POST /api/v1/auth/totp:disable');
    await expectRecords(system, refused, { action: 'auth.totpRemove', decision: 'deny', reason: 'conflict' });
    expect(await isOn('dirk')).toBe(true);

    const dora = await newUser('dora');
    await dora.post('/auth/totp', { currentPassword: PASSWORD }).expect(200);
    const removed = await dora.delete('/auth/totp').expect(204);
    await expectRecords(system, removed, { action: 'auth.totpRemove', decision: 'allow', rule: 'self' });
    const gone = await dora.post('/auth/totp:confirm', { otp: '000000' }).expect(409);
    expect(gone.body.detail).toBe('set TOTP up first');
  });

  test('cannot be turned off by guessing: wrong codes count as at sign-in', async () => {
    const { person, uri } = await withTotp('doug');
    const right = codeOf(system, uri);
    const guesses = Array.from({ length: 30 }, (_, i) => String(100_000 + i)).filter((guess) => guess !== right);
    const answers = await Promise.all(guesses.map((guess) => disable(person, guess)));
    const counts = countStatuses(answers);
    expect([counts[403], counts[429]]).toEqual([6, guesses.length - 6]);
    await disable(person, right).expect(429);
    const denied = await (await system.as('admin')).auditEntries({ action: 'auth.totpDisable', decision: 'deny' });
    const rules = denied.filter(({ event }) => event.actor.name === 'doug').map(({ event }) => event.rule);
    expect(rules.filter((rule) => rule === 'otp-wrong')).toHaveLength(6);
    expect(rules).toContain('sign-in-throttle');
    expect(await isOn('doug')).toBe(true);
  });

  test('turned off by a code does not reset the count of wrong passwords', async () => {
    const { person, recoveryCodes } = await withTotp('dom');
    const guess = (currentPassword: string) =>
      person.post('/auth/password', { currentPassword, newPassword: PASSWORD });
    for (let i = 0; i < 5; i += 1) await guess(`guess ${i}`).expect(403);
    await disable(person, recoveryCodes[0]!).expect(204);
    await guess('guess 5').expect(429);
  });
});

function disable(person: Stranger, otp: string) {
  return person.post('/auth/totp:disable', { otp });
}
