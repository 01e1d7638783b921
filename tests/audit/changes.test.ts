import { AuditChanges, CHANGES_BYTES_MAX } from '@cardea/contracts/audit-changes';
import type { Person, Stranger } from '@cardea/testkit/person';
import { PASSWORD, createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { HOUR_MS, MINUTE_MS } from '@cardea/contracts/durations';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { grant, newUser } from '../access/granting.ts';
import { createUser, nextTotpStep, signIn, turnOnTotp } from '../identity/identity.ts';

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
      const fields = { disabled: false, mustChangePassword: false, role: 'developer', totp: false };
      expect(made!.event.changes).toEqual(sides('to', fields));
      expect(await changesIn({ action: 'user.delete' })).toEqual([sides('from', fields)]);
    });

    test('of what a user signs in with, without any password', async () => {
      await createUser(system, { username: 'signer', password: PASSWORD });
      const { person } = await signIn(system, { username: 'signer' });
      const { recoveryCodes } = await turnOnTotp(system, person);
      await person.post('/auth/totp:disable', { otp: recoveryCodes[0] }).expect(204);
      nextTotpStep(system);
      await turnOnTotp(system, person);
      await admin.post('/users/signer:unlock').expect(204);
      // Until there were too many.
      for (let i = 0; i < 8; i += 1)
        await system.stranger.post('/auth/login', { username: 'signer', password: 'wrong' });
      await admin.post('/users/signer:unlock').expect(204);
      const { body } = await admin.post('/users/signer:resetPassword').expect(200);
      const oneTimePassword = body.oneTimePassword as string;
      const first = await signIn(system, { username: 'signer', password: oneTimePassword });
      const newPassword = 'chosen by its owner, and long';
      await first.person.post('/auth/password', { currentPassword: oneTimePassword, newPassword }).expect(204);

      const changesOf = async (action: string) => {
        const entries = await admin.auditEntries({ decision: 'allow', action });
        const own = entries.filter(({ event }) => [event.actor.name, event.resource?.user].includes('signer'));
        return own.toReversed().map(({ event }) => event.changes ?? event.reason);
      };
      const [on, off] = [{ totp: { from: false, to: true } }, { totp: { from: true, to: false } }];
      expect(await changesOf('auth.totpConfirm')).toEqual([on, on]);
      expect(await changesOf('auth.totpDisable')).toEqual([off]);
      expect(await changesOf('user.unlock')).toEqual(['unchanged', { locked: { from: true, to: false } }]);
      const replaced = { password: { cut: true } };
      const once = { mustChangePassword: { from: false, to: true } };
      expect(await changesOf('user.resetPassword')).toEqual([{ ...replaced, ...once, ...off }]);
      const chosen = { mustChangePassword: { from: true, to: false } };
      expect(await changesOf('auth.password')).toEqual([{ ...replaced, ...chosen }]);
    });

    test('of an application and its secrets, without the secrets', async () => {
      const networks = ['10.0.0.0/8'];
      const expiresAt = inMs(HOUR_MS);
      await admin.post('/applications', { name: 'deployer', description: 'a', allowedCidrs: networks }).expect(201);
      const change = { allowedCidrs: ['192.0.2.0/24'], description: 'b', disabled: true, expiresAt };
      await admin.patch('/applications/deployer', change).expect(200);
      const { body } = await admin.post('/applications/deployer/credentials', { expiresAt }).expect(201);
      const { id } = body as { id: string };
      await admin.delete(`/applications/deployer/credentials/${id}`).expect(204);

      expect(await changesIn({ action: 'application.create' })).toContainEqual(
        sides('to', { allowedCidrs: networks, description: 'a', disabled: false }),
      );
      expect(await changesIn({ action: 'application.change' })).toEqual([
        {
          allowedCidrs: { from: networks, to: ['192.0.2.0/24'] },
          description: { from: 'a', to: 'b' },
          disabled: { from: false, to: true },
          expiresAt: { to: inLog(expiresAt) },
        },
      ]);
      const credential = { id, expiresAt: inLog(expiresAt) };
      expect(await changesIn({ action: 'credential.create' })).toEqual([sides('to', credential)]);
      expect(await changesIn({ action: 'credential.delete' })).toEqual([sides('from', credential)]);
    });

    test('of a rotation and of the secrets of its webhook', async () => {
      const { id } = (await admin.post('/rotations', { kind: 'dek' }).expect(202)).body as { id: string };
      await admin.post(`/rotations/${id}:pause`).expect(200);
      await admin.post(`/rotations/${id}:resume`).expect(200);
      await admin.post(`/rotations/${id}:cancel`).expect(200);
      const secret = (await admin.post('/webhooks/kek-rotation/secrets').expect(201)).body as { id: string };
      await admin.delete(`/webhooks/kek-rotation/secrets/${secret.id}`).expect(204);

      expect(await changesIn({ action: 'rotation.start' })).toEqual([sides('to', { kind: 'dek', state: 'running' })]);
      expect(await changesIn({ action: 'rotation.pause' })).toEqual([{ state: { from: 'running', to: 'paused' } }]);
      expect(await changesIn({ action: 'rotation.resume' })).toEqual([{ state: { from: 'paused', to: 'running' } }]);
      expect(await changesIn({ action: 'rotation.cancel' })).toEqual([{ state: { from: 'running', to: 'cancelled' } }]);
      expect(await changesIn({ action: 'webhookSecret.create' })).toEqual([{ id: { to: secret.id } }]);
      expect(await changesIn({ action: 'webhookSecret.delete' })).toEqual([{ id: { from: secret.id } }]);
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

/** The changes of something that is made (`to`) or removed (`from`). */
function sides(side: 'from' | 'to', fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, { [side]: value }]));
}

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
