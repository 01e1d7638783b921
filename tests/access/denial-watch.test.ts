import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createDenialWatch } from '@cardea/api-service/limits/denial-watch';
import type { Caller } from '@cardea/contracts/caller';
import { createTestSystem, PASSWORD, profiles } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { clientAt, expectRecords, recordsOf, signIn } from '../identity/identity.ts';

const SECRET = '/vaults/payments/secrets/db/password';

let system: TestSystem;

const read = (address: string) => clientAt(system, address).get(SECRET);

async function countOf(rule: string): Promise<number> {
  const metrics = await (await fetch(`${system.opsUrl}/metrics`)).text();
  const [, value] = new RegExp(`^cardea_suspicious_total\\{rule="${rule}".*\\} (\\d+)$`, 'm').exec(metrics) ?? [];
  return Number(value ?? 0);
}

describe.each(profiles)('in profile %s, a caller who is refused too often', (profile) => {
  beforeEach(async () => {
    // The limit for names that do not exist is a third of this one, so the fifth is too many.
    system = await createTestSystem(profile, { CARDEA_TRUSTED_PROXIES: '1', CARDEA_REFUSALS_PER_MINUTE: '12' });
  });
  afterEach(async () => {
    await system[Symbol.asyncDispose]();
  });

  test('is blocked for a minute, by name, and the log says which rule tripped and who is blocked', async () => {
    const [alice, bob] = [await system.as('alice'), await system.as('bob')];
    const scans = [];
    for (let i = 0; i < 4; i += 1) scans.push(await bob.get(`/vaults/guess-${i}`).expect(404));
    const droppedAt = system.steadyMs();
    scans.push(await bob.get(`/vaults/guess-4`).expect(404));
    const { id } = (await recordsOf(system, scans[0]!))[0]!.actor;
    const actor = expect.objectContaining({ id, type: 'user', name: 'bob' }) as never;
    const [refused, dropped] = (await recordsOf(system, scans[4]!)).toSorted((a) => (a.suspicious ? 1 : -1));
    expect(refused).toMatchObject({ action: 'vault.read', rule: 'no-such-vault', actor });
    expect(refused).not.toHaveProperty('suspicious');
    expect(dropped).toMatchObject({
      action: 'caller.drop',
      decision: 'deny',
      reason: 'rate_limited',
      rule: 'denial-watch',
      suspicious: 'name_scanning',
      actor,
    });
    expect(await countOf('name_scanning')).toBe(1);

    const answer = await bob.get(SECRET).expect(429);
    const leftMs = droppedAt + MINUTE_MS - system.steadyMs();
    expect(Number(answer.headers['retry-after']) * SECOND_MS).toBeGreaterThanOrEqual(leftMs);
    await expectRecords(system, answer, { action: 'secret.read', rule: 'denial-watch', actor });
    await alice.get('/vaults').expect(200);
    system.passTime(MINUTE_MS);
    await bob.get('/vaults').expect(200);
  });

  test('is blocked for no more than a minute if the clock was ahead and is set right', async () => {
    const bob = await system.as('bob');
    system.passTime(3 * MINUTE_MS);
    for (let i = 0; i < 5; i += 1) await bob.get(`/vaults/guess-${i}`).expect(404);
    system.passTime(-3 * MINUTE_MS);
    const answer = await bob.get(SECRET).expect(429);
    expect(Number(answer.headers['retry-after'])).toBeLessThanOrEqual(60);
    await expectRecords(system, answer, { action: 'secret.read', rule: 'denial-watch' });
    system.passTime(MINUTE_MS);
    await bob.get('/vaults').expect(200);
    // Counting begins anew: refusals of the time ahead do not count with these.
    for (let i = 0; i < 4; i += 1) await bob.get(`/vaults/guess-${i}`).expect(404);
    await bob.get('/vaults').expect(200);
  });

  test('and trips another rule each time has a record of both and counts for both', async () => {
    const from = clientAt(system, '192.0.2.1');
    const answers = [];
    for (let i = 0; i < 13; i += 1) {
      answers.push(await from.post('/auth/refresh', { refresh_token: `unknown-${i}` }).expect(401));
    }
    const records = await recordsOf(system, answers[12]!);
    expect(records.map(({ action, suspicious }) => `${action} ${suspicious}`).toSorted()).toEqual([
      'auth.refresh refresh_unknown',
      'caller.drop denial_burst',
    ]);
    expect([await countOf('refresh_unknown'), await countOf('denial_burst')]).toEqual([13, 1]);
    expect(await recordsOf(system, answers[11]!)).toHaveLength(1);
  });

  test('by a thief of a token can still change the password, and end the session of the thief', async () => {
    const thief = (await signIn(system, { username: 'bob' })).person;
    const owner = (await signIn(system, { username: 'bob' })).person;
    for (let i = 0; i < 5; i += 1) await thief.get(`/vaults/guess-${i}`).expect(404);
    await owner.get('/vaults').expect(429);
    const sessions = (await owner.get('/auth/sessions').expect(200)).body.items as { id: string; current: boolean }[];
    const stolen = sessions.find(({ current }) => !current)!;
    const ended = await owner.delete(`/auth/sessions/${stolen.id}`).expect(204);
    await expectRecords(system, ended, { decision: 'allow', rule: 'self' });
    const newPassword = 'another horse battery 7';
    await owner.post('/auth/password', { currentPassword: PASSWORD, newPassword }).expect(204);
    await owner.post('/auth/logout').expect(204);
  });

  test('from many IPv6 addresses is blocked with the whole network, and no other network is', async () => {
    for (let i = 0; i < 13; i += 1) await read(`2001:db8:0:1::${i.toString(16)}`).expect(401);
    await read('2001:db8:0:1:ffff::7').expect(429);
    await read('2001:db8:0:2::1').expect(401);
    for (let i = 0; i < 13; i += 1) await read('192.0.2.7').expect(401);
    await read('::ffff:192.0.2.7').expect(429);
    await read('192.0.2.8').expect(401);
  });

  test('does not block sign-in from the same address, whose own limits still hold', async () => {
    const admin = await system.as('admin');
    const { body: app } = await admin.post('/applications', { name: 'ci' }).expect(201);
    const office = clientAt(system, '192.0.2.20');
    for (let i = 0; i < 13; i += 1) await office.get(SECRET).expect(401);
    await office.get(SECRET).expect(429);

    const { person, refreshToken } = await signIn(system, { username: 'alice' }, office);
    await person.get('/vaults').expect(200);
    await office.post('/auth/refresh', { refresh_token: refreshToken }).expect(200);
    const grant = { grant_type: 'client_credentials', client_id: app.clientId, client_secret: app.clientSecret };
    await office.post('/auth/token', grant).expect(200);
    await office.get(SECRET).expect(429);
    await clientAt(system, '192.0.2.20').withToken('garbage').get(SECRET).expect(429);

    const guess = () => office.post('/auth/login', { username: 'bob', password: 'a guess' });
    for (let i = 0; i < 6; i += 1) await guess().expect(401);
    await expectRecords(system, await guess().expect(429), { rule: 'sign-in-throttle' });
    await office.post('/auth/login', { username: 'bob', password: PASSWORD }).expect(429);
  });

  test('with a revoked token is blocked by address, and the user it was stolen from is not', async () => {
    const thief = clientAt(system, '192.0.2.30');
    const stolen = await signIn(system, { username: 'alice' });
    await stolen.person.post('/auth/logout').expect(204);
    const readStolen = () => thief.withToken(stolen.person.token).get(SECRET);
    for (let i = 0; i < 13; i += 1) await readStolen().expect(401);
    const [record] = await recordsOf(system, await readStolen().expect(429));
    expect(record).toMatchObject({ rule: 'denial-watch', actor: { type: 'user', name: 'alice' } });
    await (await signIn(system, { username: 'alice' })).person.get('/vaults').expect(200);
  });
});

const REMEMBERED_MAX = 10_000;

function stranger(address: number): Caller {
  const ip = [10, (address >> 16) & 255, (address >> 8) & 255, address & 255].join('.');
  return { actor: { id: 'anonymous', type: 'anonymous' }, source: { ip }, requestId: 'r' };
}

function watchOne() {
  return createDenialWatch({ refusalsPerMinute: 1, steadyMs: () => 0 });
}

test('a crowd of other callers does not make the watch forget a blocked caller', () => {
  const watch = watchOne();
  for (let i = 0; i < 2; i += 1) watch.count(stranger(0), 'unauthenticated');
  for (let one = 1; one <= REMEMBERED_MAX + 1; one += 1) watch.count(stranger(one), 'unauthenticated');
  expect(() => watch.admit(stranger(0))).toThrow(expect.objectContaining({ code: 'rate_limited' }));
});

test('a crowd whose refusals no rule counts does not make the watch forget a counted caller', () => {
  const watch = watchOne();
  watch.count(stranger(0), 'unauthenticated');
  for (let one = 1; one <= REMEMBERED_MAX + 1; one += 1) watch.count(stranger(one), 'conflict');
  expect(watch.count(stranger(0), 'unauthenticated')).toBe('denial_burst');
});

test('beyond ten thousand blocked callers the oldest are forgotten, so that memory stays bounded', () => {
  const watch = watchOne();
  for (let one = 0; one <= REMEMBERED_MAX; one += 1) {
    for (let i = 0; i < 2; i += 1) watch.count(stranger(one), 'unauthenticated');
  }
  watch.admit(stranger(0));
  for (const one of [1, REMEMBERED_MAX]) expect(() => watch.admit(stranger(one))).toThrow();
});
