import { keyVerbs, secretVerbs } from '@cardea/contracts/grants';
import { inEachProfile } from '@cardea/testkit/use-system';
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
      for (const less of [{}, everything, { owner: true, expiresAt: soon }, { owner: true, allowedCidrs: ['::/0'] }]) {
        await alice.put(mine, less).expect(status);
      }
    };
    await leave(409);
    const [entry] = await admin.auditEntries({ vault: 'kept', decision: 'deny' });
    expect(entry!.event).toMatchObject({ action: 'grant.write', reason: 'conflict', rule: 'last-owner' });

    for (const other of [
      { ...everything },
      { owner: true, expiresAt: soon },
      { owner: true, allowedCidrs: ['::/0'] },
    ]) {
      await grant(alice, 'kept', 'user:bob', other);
      await leave(409);
    }
    await admin.delete(mine).expect(409);
    expect(await ownersOf(system, 'kept')).toContain('user:alice');
    await grant(alice, 'kept', 'user:bob', { owner: true }).expect(200);
    await alice.delete(mine).expect(204);
    expect(await ownersOf(system, 'kept')).toEqual(['user:bob']);
    await alice.get('/vaults/kept').expect(404);
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
    expect(records.filter(({ event }) => event.decision === 'deny')).toHaveLength(4);
    const [handedOver, ...more] = await admin.auditEntries({ action: 'vault.handOver' });
    expect(more).toEqual([]);
    expect(handedOver!.event).toMatchObject({ resource: { vault: 'olgas', user: 'bob' }, actor: { name: 'admin' } });
  });
});
