import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { at, base64, keyTrail, makeKey } from './ground.ts';

inEachProfile((system, { alice, bob }) => {
  test('nobody waits for the RSA keys that another caller has made', async () => {
    await alice.createVault('mill');
    await bob.createVault('desk');
    await makeKey(bob, 'desk', 'pen', 'ecdsa-p384');

    // Somebody's key takes long.
    const [ended, begun] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const taken = system.vault.slowWork.generate('somebody', () => {
      begun.resolve();
      return ended.promise;
    });
    await begun.promise;
    let made = 0;
    const making = Array.from({ length: 8 }, async (_, i) => {
      const answer = await alice.post('/vaults/mill/keys', { name: `rsa-${i}`, algorithm: 'rsa-3072' });
      if (answer.status === 201) made += 1;
      return answer.status;
    });
    // In the same queue, each signature would wait for the key.
    for (let i = 0; i < 5; i++) {
      await bob.post(`${at('desk', 'pen')}:sign`, { messageBase64: base64('letter') }).expect(200);
    }
    expect(made).toBe(0);
    ended.resolve();
    await taken;
    const statuses = await Promise.all(making);
    expect(statuses.filter((status) => status !== 201 && status !== 429)).toEqual([]);
    expect(made).toBeLessThanOrEqual(5);
    const trail = await keyTrail(system, 'mill', 'key.create');
    expect(trail.some((line) => /^key\.create!.* slow-work$/.test(line))).toBe(true);
  });
});
