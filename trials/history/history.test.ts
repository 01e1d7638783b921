import { randomSecret } from '@cardea/crypto/ids';
import { prepareTestSystem } from '@cardea/testkit/system';
import { describe, expect, test } from '@jest/globals';
import { disturb, everyFault } from './faults.ts';
import { runLoad } from './load.ts';
import { Recorder } from './recorder.ts';
import { VERSIONS_KEPT, requireLinearizable } from './verdict.ts';

describe.each([
  ['mini', everyFault],
  ['full', everyFault.slice(0, 2)],
] as const)('profile %s', (profile, faults) => {
  test('one order of the calls explains the answers of eight clients while services stop and connections are cut', async () => {
    await using system = prepareTestSystem(profile);
    system.keepsSchedule = true;
    await system.start();
    const admin = await system.as('admin');
    await admin.post('/vaults', { name: 'history', maxVersions: VERSIONS_KEPT }).expect(201);

    const [recorder, stop, seed] = [new Recorder(), new AbortController(), randomSecret(6)];
    process.stdout.write(`history on ${profile}: seed ${seed}\n`);
    const trial = { url: system.url, vault: 'history', recorder, token: async () => admin.token };
    const load = runLoad(trial, { seed, stop: stop.signal });
    for (const fault of faults) await Promise.race([disturb(system, fault), load]);
    stop.abort();
    await load;

    requireLinearizable(recorder.operations);
    // A history without these outcomes would prove little.
    expect(Object.keys(recorder.counts())).toEqual(
      expect.arrayContaining([
        'put: written',
        'put: precondition failed',
        'put: lost',
        'get: read',
        'get: known already',
        'get: missing',
        'get: lost',
        'delete: deleted',
        'restore: restored',
      ]),
    );
  }, 60_000);
});
