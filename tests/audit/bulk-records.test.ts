import { useSystem } from '@cardea/testkit/use-system';
import { expect, test } from '@jest/globals';
import { countStatuses } from '../identity/identity.ts';

const SECRETS = 990;

const [, { alice, admin }] = useSystem('mini');

test('imports and exports with more records than may wait at once are all answered, and so are the calls of others', async () => {
  for (const vault of ['bulk', 'other']) await alice.createVault(vault);
  await alice.putSecret('other', 's', 'v');
  const imports = Array.from({ length: 6 }, (_, n) =>
    alice.post('/vaults/bulk/secrets:import', { format: 'json', content: document(n) }),
  );
  const imported = Promise.all(imports);
  const isDone = { yet: false };
  void imported.finally(() => (isDone.yet = true));
  const reads: { status: number }[] = [];
  while (!isDone.yet) reads.push(await alice.get('/vaults/other/secrets/s'));
  expect(countStatuses(await imported)).toEqual({ 200: imports.length });

  const exports = Array.from({ length: 6 }, (_, n) =>
    alice.post('/vaults/bulk/secrets:export', { format: 'json', prefix: `t${n}` }),
  );
  reads.push(await alice.get('/vaults/other/secrets/s'));
  expect(countStatuses(await Promise.all(exports))).toEqual({ 200: exports.length });
  expect(Object.keys(countStatuses(reads))).toEqual(['200']);

  // Every secret has its record, and no record says that a call failed.
  for (const action of ['secret.write', 'secret.read']) {
    let count = 0;
    for await (const { event } of admin.newestEntries({ vault: 'bulk', action })) {
      expect(event.decision).toBe('allow');
      count += 1;
    }
    expect([action, count]).toEqual([action, imports.length * SECRETS]);
  }
  expect(await admin.auditEntries({ vault: 'bulk', decision: 'deny' })).toEqual([]);
});

function document(n: number): string {
  return JSON.stringify(Object.fromEntries(Array.from({ length: SECRETS }, (_, i) => [`t${n}/k${i}`, `v${n}`])));
}
