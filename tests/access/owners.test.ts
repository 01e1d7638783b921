import { keyVerbs, secretVerbs } from '@cardea/contracts/grants';
import { inEachProfile } from '@cardea/testkit/use-system';
import type { TestSystem } from '@cardea/testkit/system';
import { HOUR_MS } from '@cardea/contracts/durations';
import { expect, test } from '@jest/globals';
import { grant, newApplication, newUser, ownersOf } from './granting.ts';

const everything = { secrets: [...secretVerbs], keys: [...keyVerbs] };

inEachProfile((system, { admin, alice, bob }) => {
  test('no application and no ceo becomes an owner, and a principal that does not exist is granted nothing', async () => {
    await alice.createVault('owned');
    await newApplication(system, 'would-own');
    for (const [principal, status, rule] of [
      ['application:would-own', 409, 'not-an-owner'],
      ['user:carla', 409, 'not-an-owner'],
      ['user:would-own', 404, 'no-such-principal'],
      ['application:bob', 404, 'no-such-principal'],
    ] as const) {
      await grant(alice, 'owned', principal, { owner: true }).expect(status);
      const [entry] = await admin.auditEntries({ vault: 'owned', decision: 'deny' });
      const [kind = '', named] = principal.split(':');
      expect(entry!.event).toMatchObject({ action: 'grant.write', rule, resource: { vault: 'owned', [kind]: named } });
    }
    for (const principal of ['bob', 'role:admin', 'user:', 'user:Bob', 'user:bob:x', 'user:*']) {
      await grant(alice, 'owned', principal, { secrets: ['read'] }).expect(400);
    }
    expect(await ownersOf(system, 'owned')).toEqual(['user:alice']);
  });

  test('a vault always keeps an owner who can act', async () => {
    await alice.createVault('kept');
    const mine = '/vaults/kept/grants/user:alice';
    const soon = new Date(system.now().getTime() + HOUR_MS).toISOString();
    const leave = async (status: number) => {
      await alice.delete(mine).expect(status);
      for (const less of [{}, everything, { secrets: ['read'], expiresAt: soon }]) {
        await alice.put(mine, less).expect(status);
      }
    };
    await leave(409);
    const [entry] = await admin.auditEntries({ vault: 'kept', decision: 'deny' });
    expect(entry!.event).toMatchObject({ action: 'grant.write', reason: 'conflict', rule: 'last-owner' });

    await grant(alice, 'kept', 'user:bob', everything).expect(201);
    await leave(409);
    await admin.delete(mine).expect(409);
    expect(await ownersOf(system, 'kept')).toContain('user:alice');
    await grant(alice, 'kept', 'user:bob', { owner: true }).expect(200);
    await alice.delete(mine).expect(204);
    expect(await ownersOf(system, 'kept')).toEqual(['user:bob']);
    await alice.get('/vaults/kept').expect(404);
  });

  test.each([
    ['disabled', { disabled: true }],
    ['about to expire', { expiresAt: new Date(Date.now() + HOUR_MS).toISOString() }],
    ['a ceo', { role: 'ceo' }],
  ])('an owner who is %s does not count as the last one', async (what, change) => {
    const [vault, username] = [`count-${what}`.replaceAll(' ', '-'), `co-${what}`.replaceAll(' ', '-')];
    await newUser(system, username);
    await alice.createVault(vault);
    await grant(alice, vault, `user:${username}`, { owner: true }).expect(201);
    await admin.patch(`/users/${username}`, change).expect(200);
    const refused = await alice.delete(`/vaults/${vault}/grants/user:alice`).expect(409);
    await alice.put(`/vaults/${vault}/grants/user:alice`, everything).expect(409);
    await admin.delete(`/users/${username}?successor=alice`).expect(204);
    expect(await ownersOf(system, vault)).toEqual(['user:alice']);
    const denied = await admin.auditEntries({ vault, decision: 'deny' });
    expect(denied.map(({ event }) => [event.action, event.rule, event.requestId])).toEqual([
      ['grant.write', 'last-owner', expect.any(String)],
      ['grant.delete', 'last-owner', refused.headers['x-request-id']],
    ]);
  });

  test('a user with a used-up one-time password is neither the last owner nor a successor', async () => {
    const made = await admin.post('/users', { username: 'omar', role: 'developer' }).expect(201);
    const olive = await newUser(system, 'olive');
    await olive.createVault('olives');
    await grant(olive, 'olives', 'user:omar', { owner: true }).expect(201);
    const login = { username: 'omar', password: (made.body as { oneTimePassword: string }).oneTimePassword };
    await system.stranger.post('/auth/login', login).expect(200);
    await olive.delete('/vaults/olives/grants/user:olive').expect(409);
    await admin.delete('/users/olive').expect(409);
    const refused = await admin.delete('/users/olive?successor=omar').expect(409);
    const [entry] = await admin.auditEntries({ action: 'user.delete', decision: 'deny' });
    expect(entry!.event).toMatchObject({ rule: 'not-an-owner', requestId: refused.headers['x-request-id'] });
  });

  test('the grant of an owner has no limit, because an owner could lift it', async () => {
    await alice.createVault('unlimited');
    const expiresAt = new Date(system.now().getTime() + HOUR_MS).toISOString();
    for (const limit of [{ pathPrefix: 'apps' }, { expiresAt }, { allowedCidrs: ['::/0'] }]) {
      const refused = await grant(alice, 'unlimited', 'user:bob', { owner: true, ...limit }).expect(400);
      expect(refused.body.errors).toEqual([
        { path: `body.${Object.keys(limit)[0]}`, message: 'cannot limit an owner' },
      ]);
      const [entry] = await admin.auditEntries({ action: 'grant.write', decision: 'deny' });
      const { requestId, reason } = entry!.event;
      expect([requestId, reason]).toEqual([refused.headers['x-request-id'], 'invalid_request']);
    }
    expect(await ownersOf(system, 'unlimited')).toEqual(['user:alice']);
  });

  test('an owner whom an earlier version has limited cannot lift the limit, nor let somebody else do it', async () => {
    await alice.createVault('of-old');
    await grant(alice, 'of-old', 'user:bob', { owner: true }).expect(201);
    await limitAsBefore(system, 'bob', '["127.0.0.0/8"]');
    await bob.putSecret('of-old', 's', 'v');
    const refused = await grant(bob, 'of-old', 'user:bob', { owner: true }).expect(403);
    for (const principal of ['user:carla', 'user:admin']) {
      await grant(bob, 'of-old', principal, { owner: true }).expect(403);
    }
    const [, , entry] = await admin.auditEntries({ vault: 'of-old', decision: 'deny' });
    const record = { action: 'grant.write', rule: 'grant:owner', requestId: refused.headers['x-request-id'] };
    expect(entry!.event).toMatchObject(record);
    await alice.delete('/vaults/of-old/grants/user:alice').expect(409);
    await grant(alice, 'of-old', 'user:bob', { owner: true }).expect(200);
    await alice.delete('/vaults/of-old/grants/user:alice').expect(204);
  });

  test('if two owners remove each other at once, one stays', async () => {
    for (let round = 0; round < 5; round += 1) {
      const vault = `duel-${round}`;
      await alice.createVault(vault);
      await grant(alice, vault, 'user:bob', { owner: true }).expect(201);
      const answers = await Promise.all([
        alice.delete(`/vaults/${vault}/grants/user:bob`),
        bob.delete(`/vaults/${vault}/grants/user:alice`),
      ]);
      expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
      expect(await ownersOf(system, vault)).toHaveLength(1);
    }
  });

  test('the sole owner of a vault is deleted only with a successor, who then owns it, and the record says so', async () => {
    const olga = await newUser(system, 'olga');
    await olga.createVault('olgas');
    await olga.putSecret('olgas', 's', 'kept');
    await olga.createVault('olgas-and-alices');
    await grant(olga, 'olgas-and-alices', 'user:alice', { owner: true }).expect(201);

    const refused = await admin.delete('/users/olga').expect(409);
    expect(refused.body.detail).toMatch(/olgas\b.*successor/);
    expect(refused.body.detail).not.toContain('olgas-and-alices');
    for (const heir of ['carla', 'olga', 'nobody']) await admin.delete(`/users/olga?successor=${heir}`).expect(409);
    expect(await olga.readSecret('olgas', 's')).toBe('kept');
    expect(await ownersOf(system, 'olgas')).toEqual(['user:olga']);

    await admin.delete('/users/olga?successor=bob').expect(204);
    await olga.get('/auth/me').expect(401);
    expect(await ownersOf(system, 'olgas')).toEqual(['user:bob']);
    expect(await ownersOf(system, 'olgas-and-alices')).toEqual(['user:alice']);
    expect(await bob.readSecret('olgas', 's')).toBe('kept');
    const records = await admin.auditEntries({ action: 'user.delete' });
    expect(records[0]!.event).toMatchObject({
      decision: 'allow',
      reason: expect.stringContaining('bob'),
      resource: { user: 'olga' },
      actor: { name: 'admin' },
    });
    const denied = records.filter(({ event }) => event.decision === 'deny' && event.resource?.user === 'olga');
    expect(denied).toHaveLength(4);
    const [handedOver, ...more] = await admin.auditEntries({ action: 'vault.handOver' });
    expect(more).toEqual([]);
    expect(handedOver!.event).toMatchObject({ resource: { vault: 'olgas', user: 'bob' }, actor: { name: 'admin' } });
  });
});

/** Writes the grants of a user as a version did that let owners have limits. */
async function limitAsBefore(system: TestSystem, username: string, allowedCidrs: string): Promise<void> {
  const db = system.openDatabase();
  try {
    await db.query(
      `update vault_grant
          set allowed_cidrs = $2
        where principal = (select 'user:' || id from app_user where username = $1)`,
      [username, allowedCidrs],
    );
  } finally {
    await db.close();
  }
}
