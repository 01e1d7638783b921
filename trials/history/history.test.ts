import { randomSecret } from '@cardea/crypto/ids';
import { prepareTestSystem } from '@cardea/testkit/system';
import { describe, expect, test } from '@jest/globals';
import { disturb, everyFault } from './faults.ts';
import { runLoad } from './load.ts';
import { Recorder } from './recorder.ts';
import { VERSIONS_KEPT, requireLinearizable } from './verdict.ts';

// A history without these outcomes would prove little.
const TELLING_OUTCOMES = [
  'put: written',
  'put: precondition failed',
  'put: lost',
  'get: read',
  'get: known already',
  'get: missing',
  'get: lost',
  'delete: deleted',
  'restore: restored',
];
const LOAD_MS_MAX = 40_000;

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
    const seesAll = () => TELLING_OUTCOMES.every((outcome) => outcome in recorder.counts());
    // A busy machine makes few calls in the time of the faults, so they come again until the rare outcomes are there.
    const giveUpAt = performance.now() + LOAD_MS_MAX;
    do {
      for (const fault of faults) await Promise.race([disturb(system, fault), load]);
    } while (!seesAll() && performance.now() < giveUpAt);
    stop.abort();
    await load;

    const openDatabase = () => system.openDatabase();
    await requireLinearizable(recorder.operations, { ...trial, token: admin.token, openDatabase });
    expect(Object.keys(recorder.counts())).toEqual(expect.arrayContaining(TELLING_OUTCOMES));
  });
});
