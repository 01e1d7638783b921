import { availableParallelism } from 'node:os';

export default {
  // Jest would leave a core to itself, half of a machine of two. Each worker has a database of Redis, which has sixteen.
  maxWorkers: Math.min(availableParallelism(), 8),
  // A worker keeps about 30 MB of each file that it has run. Collecting the garbage of a large heap stops all that it runs
  // for half a second at a time, so a worker is replaced before.
  workerIdleMemoryLimit: '512MB',
  testEnvironment: 'node',
  testMatch: [
    '<rootDir>/{packages,services}/*/{src,test}/**/*.test.ts',
    '<rootDir>/{cli,deploy,tests,trials,tools}/**/*.test.ts',
  ],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {},
  // Ends a test that hangs. Nothing is timed by it: a busy machine takes several times as long as a quiet one.
  testTimeout: 180_000,
  reporters: ['default', '<rootDir>/packages/testkit/src/jest-reporter.mjs'],
  globalSetup: '<rootDir>/packages/testkit/src/jest-global-setup.ts',
  globalTeardown: '<rootDir>/packages/testkit/src/jest-global-teardown.ts',
};
