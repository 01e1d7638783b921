import { createTestSystem } from '@cardea/testkit/system';

/**
 * Every endpoint of the public interface, in the order of its document: for tests of each, which jest must know before
 * it runs one.
 */
export const endpoints = await servedEndpoints();

// Only a running system knows all its routes. They are the same in both profiles.
async function servedEndpoints() {
  await using system = await createTestSystem('mini');
  return system.endpoints;
}
