import { secretVerbs } from '@cardea/contracts/grants';
import type { Person } from '@cardea/testkit/person';
import { createTestSystem, profiles } from '@cardea/testkit/system';
import type { Profile, TestSystem } from '@cardea/testkit/system';
import { afterEach, describe, expect, test } from '@jest/globals';
import { grant, newUser } from './granting.ts';

const SECRET = '/vaults/near/secrets/s';
const HERE = '127.0.0.1';

let system: TestSystem;
let admin: Person;
let bob: Person;
let olga: Person;

afterEach(async () => {
  await system[Symbol.asyncDispose]();
});

/** A system behind this many proxies, with a vault that bob may read and olga may do everything in, from some networks only. */
async function behind(profile: Profile, proxies: number, allowedCidrs: string[]): Promise<void> {
  system = await createTestSystem(profile, { CARDEA_TRUSTED_PROXIES: String(proxies) });
  [admin, bob, olga] = [await system.as('admin'), await system.as('bob'), await newUser(system, 'olga')];
  const alice = await system.as('alice');
  await alice.createVault('near');
  await alice.putSecret('near', 's', 'v');
  await grant(alice, 'near', 'user:bob', { secrets: ['read'], allowedCidrs }).expect(201);
  await grant(alice, 'near', 'user:olga', { secrets: [...secretVerbs], allowedCidrs }).expect(201);
}

/** Where the server says that a request with this header came from, after a read. `yes` if it released the secret. */
async function comingBy(forwarded: string | undefined): Promise<[given: string, ip: string | undefined]> {
  const from = (person: Person) => (forwarded === undefined ? person : person.with({ 'X-Forwarded-For': forwarded }));
  const { status } = await from(bob).get(SECRET);
  const [entry] = await admin.auditEntries({ action: 'secret.read', limit: '1' });
  expect(entry!.event).toMatchObject(status === 200 ? { rule: 'grant:secret.read' } : { rule: 'grant:network' });
  // Outside of the networks olga has no rights: reads nothing, sees nothing, changes nothing.
  expect((await from(olga).get('/vaults/near')).status).toBe(status);
  const listed = (await from(olga).get('/vaults').expect(200)).body.items as unknown[];
  expect(listed).toHaveLength(status === 200 ? 1 : 0);
  await from(olga)
    .delete('/vaults/near/grants/user:carla')
    .expect(status === 200 ? 403 : 404);
  return [{ 200: 'yes', 404: 'no' }[status] ?? String(status), entry!.event.source?.ip];
}

describe.each(profiles)('in profile %s, a grant for networks', (profile) => {
  test('behind one proxy trusts what that proxy wrote, and nothing to the left of it', async () => {
    await behind(profile, 1, ['203.0.113.0/24', '2001:db8::/32']);
    for (const [forwarded, given, ip] of [
      ['203.0.113.7', 'yes', '203.0.113.7'],
      ['198.51.100.1', 'no', '198.51.100.1'],
      ['203.0.114.0', 'no', '203.0.114.0'],
      ['2001:db8::1', 'yes', '2001:db8::1'],
      ['2001:DB8:FFFF::1', 'yes', '2001:DB8:FFFF::1'],
      ['2001:db9::1', 'no', '2001:db9::1'],
      ['::ffff:203.0.113.7', 'yes', '203.0.113.7'],
      ['0:0:0:0:0:ffff:203.0.113.7', 'yes', '0:0:0:0:0:ffff:203.0.113.7'],
      ['::ffff:198.51.100.1', 'no', '198.51.100.1'],
      ['::203.0.113.7', 'no', '::203.0.113.7'],
      ['203.0.113.7, 198.51.100.1', 'no', '198.51.100.1'],
      ['203.0.113.7, 203.0.113.7, 198.51.100.1', 'no', '198.51.100.1'],
      ['203.0.113.7,198.51.100.1', 'no', '198.51.100.1'],
      ['198.51.100.1, 203.0.113.7', 'yes', '203.0.113.7'],
      // Some proxies write the port, or brackets.
      ['203.0.113.7:1234', 'yes', '203.0.113.7'],
      ['198.51.100.1:1234', 'no', '198.51.100.1'],
      ['[2001:db8::1]:1234', 'yes', '2001:db8::1'],
      ['[2001:db8::1]', 'yes', '2001:db8::1'],
      ['[::ffff:203.0.113.7]:1234', 'yes', '203.0.113.7'],
      ['203.0.113.7, 198.51.100.1:1234', 'no', '198.51.100.1'],
      // What is no address counts as the proxy's own.
      ['203.0.113.7, unknown', 'no', HERE],
      ['203.0.113.7/24', 'no', HERE],
      ['"203.0.113.7"', 'no', HERE],
      ['203.0.113.7:', 'no', HERE],
      ['203.0.113.7:123456', 'no', HERE],
      ['203.0.113.7]', 'no', HERE],
      ['[203.0.113.7', 'no', HERE],
      ['', 'no', HERE],
      [undefined, 'no', HERE],
    ] as const) {
      expect([forwarded, ...(await comingBy(forwarded))]).toEqual([forwarded, given, ip]);
    }
  });

  test('behind two proxies trusts what the outer one wrote', async () => {
    await behind(profile, 2, ['203.0.113.0/24']);
    for (const [forwarded, given, ip] of [
      ['203.0.113.7, 10.0.0.1', 'yes', '203.0.113.7'],
      ['198.51.100.1, 203.0.113.7, 10.0.0.1', 'yes', '203.0.113.7'],
      ['203.0.113.7, 198.51.100.1, 10.0.0.1', 'no', '198.51.100.1'],
      ['10.0.0.1, 203.0.113.7', 'no', '10.0.0.1'],
      // Beyond the outer proxy nothing is trusted.
      ['203.0.113.7', 'no', HERE],
    ] as const) {
      expect([forwarded, ...(await comingBy(forwarded))]).toEqual([forwarded, given, ip]);
    }
  });

  test('without a proxy ignores the header, from outside and from inside', async () => {
    await behind(profile, 0, ['203.0.113.0/24']);
    for (const forwarded of ['203.0.113.7', '203.0.113.7, 203.0.113.7', '::ffff:203.0.113.7']) {
      expect(await comingBy(forwarded)).toEqual(['no', HERE]);
    }
    const others = { 'X-Real-IP': '203.0.113.7', Forwarded: 'for=203.0.113.7', 'CF-Connecting-IP': '203.0.113.7' };
    await bob.with(others).get(SECRET).expect(404);

    const alice = await system.as('alice');
    for (const principal of ['user:bob', 'user:olga']) {
      await grant(alice, 'near', principal, { secrets: ['read'], allowedCidrs: ['127.0.0.0/8'] }).expect(200);
    }
    for (const forwarded of [undefined, '198.51.100.1', '2001:db8::1']) {
      expect(await comingBy(forwarded)).toEqual(['yes', HERE]);
    }
  });
});
