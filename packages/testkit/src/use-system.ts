import { afterAll, beforeAll, describe } from '@jest/globals';
import type { Person } from './person.ts';
import { prepareTestSystem, profiles } from './system.ts';
import type { Profile, TestSystem, Username } from './system.ts';

/** The people of a system. Each person that a block of tests uses is signed in before its first test. */
export type People = Readonly<Record<Username, Person>>;

/**
 * Runs the same tests on a system of each profile, which runs from before the first test until after the last:
 *
 *     inEachProfile((system, { alice }) => {
 *       test('…', async () => { await alice.createVault('payments'); … });
 *     });
 *
 * `settings` are environment variables of the systems.
 */
export function inEachProfile(
  tests: (system: TestSystem, people: People) => void,
  settings: NodeJS.ProcessEnv = {},
): void {
  describe.each(profiles)('in profile %s', (profile) => {
    const system = prepareTestSystem(profile, { ...settings });
    beforeAll(async () => system.start());
    tests(system, peopleOf(system));
    // Registered last, so that it runs after the `afterAll` hooks of the tests.
    afterAll(async () => system[Symbol.asyncDispose]());
  });
}

/** Makes a system for the tests of this file or block. It runs from before the first test until after the last. */
export function useSystem(profile: Profile, settings: NodeJS.ProcessEnv = {}): [TestSystem, People] {
  const system = prepareTestSystem(profile, settings);
  beforeAll(async () => system.start());
  afterAll(async () => system[Symbol.asyncDispose]());
  return [system, peopleOf(system)];
}

function peopleOf(system: TestSystem): People {
  const signedIn = (username: Username): Person => {
    beforeAll(() => system.as(username));
    return system.person(username);
  };
  return {
    get admin() {
      return signedIn('admin');
    },
    get alice() {
      return signedIn('alice');
    },
    get bob() {
      return signedIn('bob');
    },
    get carla() {
      return signedIn('carla');
    },
  };
}
