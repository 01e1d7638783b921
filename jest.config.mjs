export default {
  testEnvironment: 'node',
  testMatch: [
    '<rootDir>/{packages,services}/*/{src,test}/**/*.test.ts',
    '<rootDir>/{deploy,tests,trials,tools}/**/*.test.ts',
  ],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {},
  testTimeout: 30_000,
  reporters: ['default', '<rootDir>/packages/testkit/src/jest-reporter.mjs'],
  globalSetup: '<rootDir>/packages/testkit/src/jest-global-setup.ts',
  globalTeardown: '<rootDir>/packages/testkit/src/jest-global-teardown.ts',
};
