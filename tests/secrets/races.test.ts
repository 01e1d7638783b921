import { REFERENCE_TYPE } from '@cardea/contracts/secrets/secret-shapes';
import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';

const ROUNDS = 15;

inEachProfile((_system, { alice }) => {
  test('of two references that would close a circle, written at the same time, one is refused', async () => {
    await alice.createVault('circles');
    const refer = (from: string, to: string) => {
      const value = JSON.stringify({ $ref: { vault: 'circles', name: to } });
      return alice.put(`/vaults/circles/secrets/${from}`, { value, contentType: REFERENCE_TYPE });
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      const [a, b] = [`a${round}`, `b${round}`];
      const answers = await Promise.all([refer(a, b), refer(b, a)]);
      expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(['201', '400']);
      expect(answers.find(({ status }) => status === 400)!.body.detail).toContain('leads back');
    }
  });

  test('versions of a name that is purged and written again at the same time are never given twice', async () => {
    await alice.createVault('names');
    const given: number[] = [];
    const write = async (n: number) => {
      const { status, body } = await alice.put('/vaults/names/secrets/s', { value: `${n} ${crypto.randomUUID()}` });
      expect([200, 201]).toContain(status);
      given.push(body.version as number);
    };
    const purge = async () => {
      expect([204, 404]).toContain((await alice.post('/vaults/names/secrets/s:purge')).status);
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      await Promise.all([write(1), purge(), write(2), purge(), write(3)]);
    }
    expect(given.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 3 * ROUNDS }, (_, i) => i + 1));
  });

  test('writes of one name at the same time get versions in a row, and none is lost', async () => {
    await alice.createVault('row');
    await alice.patch('/vaults/row', { maxVersions: 100 }).expect(200);
    const writes = Array.from({ length: 30 }, (_, n) => alice.put('/vaults/row/secrets/s', { value: `v${n}` }));
    const versions = (await Promise.all(writes)).map(({ body }) => body.version as number);
    expect(versions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i + 1));
    for (const [n, version] of versions.entries()) {
      const { body } = await alice.get(`/vaults/row/secrets/s?version=${version}`).expect(200);
      expect(body.value).toBe(`v${n}`);
    }
  });
});
