import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { expectRecords } from '../identity/identity.ts';
import { grant, newApplication } from './granting.ts';

const one = (principal: string) => `/vaults/single/grants/${principal}`;

// One grant: read alone, and given for a time.
inEachProfile((system, { alice, bob, carla }) => {
  beforeAll(async () => {
    await alice.createVault('single');
    await alice.putSecret('single', 'apps/ci/token', 'value');
  });

  test('is read by who may see all of them, and each read is recorded', async () => {
    await newApplication(system, 'single-ci');
    const given = {
      secrets: ['read'],
      keys: ['sign'],
      pathPrefix: 'apps',
      keyPrefix: 'ci-',
      allowedCidrs: ['10.0.0.0/8'],
    };
    const { body: put } = await grant(alice, 'single', 'application:single-ci', given).expect(201);
    const resource = expect.objectContaining({ vault: 'single', application: 'single-ci' }) as never;
    for (const person of [alice, carla, await system.as('admin')]) {
      const read = await person.get(one('application:single-ci')).expect(200);
      expect(read.body).toEqual(put);
      await expectRecords(system, read, { action: 'grant.read', decision: 'allow', resource });
    }
    const listed = await alice.get('/vaults/single/grants').expect(200);
    expect(listed.body.items).toContainEqual(put);
  });

  test('is not there for who may not see the vault, and refused to who may not manage it', async () => {
    const hidden = await bob.get(one('user:alice')).expect(404);
    await expectRecords(system, hidden, { action: 'grant.read', decision: 'deny', reason: 'not_found' });
    await grant(alice, 'single', 'user:bob', { secrets: ['read'] }).expect(201);
    // Not even their own.
    const refused = await bob.get(one('user:bob')).expect(403);
    await expectRecords(system, refused, { action: 'grant.read', decision: 'deny', reason: 'access_denied' });
    await alice.delete(one('user:bob')).expect(204);
  });

  test.each(['user:bob', 'user:nobody', 'application:none'])('is not there for %s, who has none', async (principal) => {
    const answer = await alice.get(one(principal)).expect(404);
    expect(answer.body.detail).toBe('the principal has no grant in this vault');
    await expectRecords(system, answer, { action: 'grant.read', decision: 'deny', rule: 'no-such-grant' });
  });

  test('for ttlSeconds holds so long and no longer', async () => {
    const put = await grant(alice, 'single', 'user:bob', { secrets: ['read'], ttlSeconds: 60 }).expect(201);
    const expiresAt = put.body.expiresAt as string;
    expect(Date.parse(expiresAt) - system.now().getTime()).toBeLessThanOrEqual(60_000);
    expect(Date.parse(expiresAt) - system.now().getTime()).toBeGreaterThan(30_000);
    expect(put.body).not.toHaveProperty('ttlSeconds');
    const changes = expect.objectContaining({
      expiresAt: { to: expect.stringContaining(expiresAt.slice(0, 19)) },
    }) as never;
    await expectRecords(system, put, { action: 'grant.write', decision: 'allow', changes });
    await bob.get('/vaults/single/secrets/apps/ci/token').expect(200);
    system.passTime(61_000);
    await bob.get('/vaults/single/secrets/apps/ci/token').expect(404);
  });
});
