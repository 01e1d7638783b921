import { afterAll, beforeAll, describe } from '@jest/globals';
import type { Person } from './person.ts';
import { prepareTestSystem } from './system.ts';
import type { Profile, TestSystem, Username } from './system.ts';

/** The people of a system. Whom a test names is signed in before its first test begins. */
export type People = Readonly<Record<Username, Person>>;

/**
 * The same tests on a system of each profile, which is there from before the first of them until after the last:
 *
 *     inEachProfile((system, { alice }) => {
 *       test('…', async () => { await alice.createVault('payments'); … });
 *     });
 */
export function inEachProfile(tests: (system: TestSystem, people: People) => void): void {
  describe.each<Profile>(['mini', 'full'])('in profile %s', (profile) => {
    const system = prepareTestSystem(profile);
    beforeAll(async () => system.start());
    tests(system, peopleOf(system));
    // Last, so that what the tests themselves do in the end still finds it.
    afterAll(async () => system[Symbol.asyncDispose]());
  });
}

/** A system for the tests of this file, or of this block: there from before the first of them until after the last. */
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
