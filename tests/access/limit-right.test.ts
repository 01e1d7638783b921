import { inEachProfile } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { grant } from './granting.ts';

inEachProfile((_system, { admin, alice, bob }) => {
  const secret = '/vaults/limits/secrets/s';
  const lowering: [string, () => ReturnType<typeof bob.put>][] = [
    ['PUT', () => bob.put(secret, { value: 'new', maxVersions: 1 })],
    ['PUT of the identical value', () => bob.put(secret, { value: 'v3', maxVersions: 1 })],
    ['generate', () => bob.post(`${secret}:generate`, { maxVersions: 1 })],
    [
      'batchWrite',
      () => bob.post('/vaults/limits/secrets:batchWrite', { secrets: [{ name: 's', value: 'new', maxVersions: 1 }] }),
    ],
    ['PATCH', () => bob.patch(secret, { maxVersions: 1 })],
    ['PATCH that clears it', () => bob.patch(secret, { maxVersions: null })],
  ];

  test('who may write and not delete cannot lower the limit of versions, in any call', async () => {
    await alice.post('/vaults', { name: 'limits', maxVersions: 2 }).expect(201);
    await alice.put(secret, { value: 'v1', maxVersions: 5 }).expect(201);
    for (const value of ['v2', 'v3']) await alice.putSecret('limits', 's', value);
    await grant(alice, 'limits', 'user:bob', { secrets: ['write'] }).expect(201);
    const before = await alice.get(`${secret}:versions`).expect(200);
    for (const [what, lower] of lowering) {
      const refused = await lower();
      expect([what, refused.status]).toEqual([what, 403]);
      const [entry] = await admin.auditEntries({ vault: 'limits', decision: 'deny' });
      const { requestId, rule } = entry!.event;
      expect([what, requestId, rule]).toEqual([what, refused.headers['x-request-id'], 'grant:secret.delete']);
    }
    expect((await alice.get(`${secret}:versions`).expect(200)).body).toEqual(before.body);

    // The same limit, a higher one, and any limit of a new secret take nothing away.
    for (const maxVersions of [5, 6]) await bob.put(secret, { value: `w${maxVersions}`, maxVersions }).expect(200);
    await bob.put('/vaults/limits/secrets/new', { value: 'v', maxVersions: 1 }).expect(201);
  });

  test('who may also delete lowers it, and the record names both rights', async () => {
    await grant(alice, 'limits', 'user:bob', { secrets: ['write', 'delete'] }).expect(200);
    for (const [what, lower] of lowering) {
      await alice.patch(secret, { maxVersions: 5 }).expect(200);
      await alice.putSecret('limits', 's', 'v3');
      const done = await lower();
      expect([what, done.status]).toEqual([what, 200]);
      const records = await admin.auditEntries({ vault: 'limits', actor: 'bob' });
      const record = records.find(({ event }) => event.changes?.['maxVersions']);
      const { requestId, rule, changes } = record!.event;
      expect([what, requestId, rule]).toEqual([
        what,
        done.headers['x-request-id'],
        'grant:secret.write, grant:secret.delete',
      ]);
      expect(changes!['maxVersions']).toMatchObject({ from: 5 });
    }
  });
});
