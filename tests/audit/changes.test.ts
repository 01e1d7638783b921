import { AuditChanges, CHANGES_BYTES_MAX } from '@cardea/contracts/audit-changes';
import type { Person, Stranger } from '@cardea/testkit/person';
import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newUser } from '../access/granting.ts';

const inLog = (time: string) => time.replace('Z', '000Z');

describe.each(['mini', 'full'] as const)(
  'the record of a change shows the old and the new values, in profile %s:',
  (profile) => {
    let system: TestSystem;
    let admin: Person;
    let alice: Person;

    beforeAll(async () => {
      system = await createTestSystem(profile);
      admin = await system.as('admin');
      alice = await system.as('alice');
    });
    afterAll(async () => system[Symbol.asyncDispose]());

    /** The changes in the log, oldest first. */
    async function changesIn(query: Record<string, string>): Promise<unknown[]> {
      const entries = await admin.auditEntries({ decision: 'allow', ...query });
      return entries.toReversed().map(({ event }) => event.changes ?? event.reason);
    }

    const inMs = (ms: number) => new Date(system.now().getTime() + ms).toISOString();

    test('of two different changes of a role', async () => {
      const one = await newUser(system, 'one');
      const two = await newUser(system, 'two', 'ceo');
      const expiresAt = inMs(HOUR_MS);
      await admin.patch('/users/one', { role: 'admin' }).expect(200);
      await admin.patch('/users/two', { role: 'developer', expiresAt }).expect(200);
      await admin.patch('/users/two', { disabled: true, expiresAt: null }).expect(200);
      await admin.patch('/users/two', { role: 'developer' }).expect(200);

      const carla = await system.as('carla');
      const entries = await carla.auditEntries({ action: 'user.change' });
      const told = entries.toReversed().map(({ event }) => [event.resource?.user, event.changes ?? event.reason]);
      expect(told).toEqual([
        ['one', { role: { from: 'developer', to: 'admin' } }],
        ['two', { expiresAt: { to: inLog(expiresAt) }, role: { from: 'ceo', to: 'developer' } }],
        ['two', { disabled: { from: false, to: true }, expiresAt: { from: inLog(expiresAt) } }],
        ['two', 'unchanged'],
      ]);
      await one.get('/users/two').expect(200);
      await two.get('/auth/me').expect(401);
    });

    test('of a new user and of a deleted user', async () => {
      await newUser(system, 'brief');
      await admin.delete('/users/brief').expect(204);

      const [made] = (await admin.auditEntries({ action: 'user.create' })).filter(
        ({ event }) => event.resource?.user === 'brief',
      );
      expect(made!.event.changes).toEqual({ disabled: { to: false }, role: { to: 'developer' } });
      expect(await changesIn({ action: 'user.delete' })).toEqual([
        { disabled: { from: false }, role: { from: 'developer' } },
      ]);
    });

    test('of a grant, with the networks before and after', async () => {
      await alice.createVault('granted');
      const expiresAt = inMs(HOUR_MS);
      const put = (body: object) => grant(alice, 'granted', 'user:bob', body);
      await put({ secrets: ['list', 'read'], allowedCidrs: ['10.0.0.0/8'] }).expect(201);
      await put({ secrets: ['list'], allowedCidrs: ['192.0.2.0/24', '2001:db8::/32'], pathPrefix: 'apps', expiresAt });
      await put({ secrets: ['list'], allowedCidrs: ['192.0.2.0/24', '2001:db8::/32'], pathPrefix: 'apps', expiresAt });
      await put({ keys: ['sign'], owner: false, pathPrefix: 'apps/ci' });
      await alice.delete('/vaults/granted/grants/user:bob').expect(204);

      expect(await changesIn({ vault: 'granted', action: 'grant.write' })).toEqual([
        {
          allowedCidrs: { to: ['10.0.0.0/8'] },
          keys: { to: [] },
          owner: { to: false },
          secrets: { to: ['list', 'read'] },
        },
        {
          allowedCidrs: { from: ['10.0.0.0/8'], to: ['192.0.2.0/24', '2001:db8::/32'] },
          expiresAt: { to: inLog(expiresAt) },
          pathPrefix: { to: 'apps' },
          secrets: { from: ['list', 'read'], to: ['list'] },
        },
        'unchanged',
        {
          allowedCidrs: { from: ['192.0.2.0/24', '2001:db8::/32'], to: [] },
          expiresAt: { from: inLog(expiresAt) },
          keys: { from: [], to: ['sign'] },
          pathPrefix: { from: 'apps', to: 'apps/ci' },
          secrets: { from: ['list'], to: [] },
        },
      ]);
      expect(await changesIn({ vault: 'granted', action: 'grant.delete' })).toEqual([
        {
          allowedCidrs: { from: [] },
          keys: { from: ['sign'] },
          owner: { from: false },
          pathPrefix: { from: 'apps/ci' },
          secrets: { from: [] },
        },
      ]);
    });

    test('of the largest possible grant, in full', async () => {
      await alice.createVault('networks');
      const from = { allowedCidrs: networksOf('aaaa'), pathPrefix: prefixOf('a') };
      const to = { allowedCidrs: networksOf('bbbb'), pathPrefix: prefixOf('b') };
      await grant(alice, 'networks', 'user:bob', { secrets: ['read'], ...from }).expect(201);
      await grant(alice, 'networks', 'user:bob', { secrets: ['read'], ...to }).expect(200);

      expect((await changesIn({ vault: 'networks', action: 'grant.write' }))[1]).toEqual({
        allowedCidrs: { from: from.allowedCidrs, to: to.allowedCidrs },
        pathPrefix: { from: from.pathPrefix, to: to.pathPrefix },
      });
    });

    test('of a vault, from its creation to its deletion', async () => {
      await alice.post('/vaults', { name: 'brief', description: 'a', maxVersions: 3 }).expect(201);
      await alice.patch('/vaults/brief', { description: 'b' }).expect(200);
      await alice.delete('/vaults/brief').expect(204);

      expect(await changesIn({ vault: 'brief' })).toEqual([
        { description: { to: 'a' }, maxVersions: { to: 3 } },
        { description: { from: 'a', to: 'b' } },
        { description: { from: 'b' }, maxVersions: { from: 3 } },
      ]);
    });

    test('of the fields beside a value, whichever call changes them', async () => {
      await alice.createVault('beside');
      const path = '/vaults/beside/secrets/s';
      const [first, second] = [inMs(MINUTE_MS), inMs(2 * MINUTE_MS)];
      const put = (body: object) => alice.put(path, { value: 'v', ...body });
      await put({}).expect(201);
      await put({ metadata: { 'für wen?': 'dba' }, expiresAt: first }).expect(200);
      await put({ value: 'w', metadata: { team: 'payments' }, maxVersions: 2 }).expect(200);
      await alice.patch(path, { version: 1, expiresAt: second }).expect(200);
      await alice.patch(path, { maxVersions: null }).expect(200);

      expect(await changesIn({ vault: 'beside', action: 'secret.write' })).toEqual([
        undefined,
        { expiresAt: { to: inLog(first) }, 'metadata.f%C3%BCr%20wen%3F': { to: 'dba' } },
        {
          expiresAt: { from: inLog(first) },
          maxVersions: { to: 2 },
          'metadata.f%C3%BCr%20wen%3F': { from: 'dba' },
          'metadata.team': { to: 'payments' },
        },
      ]);
      expect(await changesIn({ vault: 'beside', action: 'secret.update' })).toEqual([
        { expiresAt: { from: inLog(first), to: inLog(second) } },
        { maxVersions: { from: 2 } },
      ]);
    });

    test('of the largest possible change, and says what it leaves out', async () => {
      await alice.createVault('large');
      const path = '/vaults/large/secrets/s';
      const reader = longWinded(alice);
      await reader.put(path, { value: 'v', metadata: labels('a') }).expect(201);
      const removed = Object.fromEntries(Object.keys(labels('a')).map((key) => [key, null]));
      const patch = { metadata: { ...removed, ...labels('b') }, maxVersions: 7 };
      expect((await reader.patch(path, patch).expect(200)).body.metadata).toEqual(labels('b'));

      const [entry] = await admin.auditEntries({ vault: 'large', action: 'secret.update' });
      const changes = AuditChanges.parse(entry!.event.changes);
      const [marker, ...told] = Object.keys(changes).toSorted();
      expect(Object.values(changes).length).toBeGreaterThan(2);
      expect(changes[marker!]).toEqual({ cut: true });
      expect(Number(marker) + told.length).toBe(64 + 64 + 1);
      expect(told[0]).toBe('maxVersions');
      const bytes = Buffer.byteLength(JSON.stringify(changes));
      expect(bytes).toBeLessThanOrEqual(CHANGES_BYTES_MAX);
      expect(bytes).toBeGreaterThan(CHANGES_BYTES_MAX - 3_000);
    });
  },
);

/** The largest possible metadata. */
function labels(letter: string): Record<string, string> {
  const keys = Array.from({ length: 64 }, (_, i) => `${letter}${'\u{1f511}'.repeat(62)}${10 + i}`);
  return Object.fromEntries(keys.map((key) => [key, `${letter}${'€'.repeat(400)}`]));
}

/** As many networks as a grant may have, all of the greatest length. */
function networksOf(first: string): string[] {
  return Array.from(
    { length: 64 },
    (_, i) => `${first}:1111:2222:3333:4444:5555:6666:${(0x1000 + i).toString(16)}/128`,
  );
}

/** The longest possible prefix. */
function prefixOf(letter: string): string {
  return Array.from({ length: 4 }, (_, i) => letter.repeat(i === 0 ? 128 : 127)).join('/');
}

/** The same client, whose requests have the largest possible records. */
function longWinded(person: Person): Stranger {
  return person.with({ 'User-Agent': '"'.repeat(256) });
}
