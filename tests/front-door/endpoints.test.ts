import { globSync } from 'node:fs';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { createTestSystem } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const contracts = new URL('../../packages/contracts/src/', import.meta.url);
let system: TestSystem;

beforeAll(async () => {
  // In one profile: the routes are those of the code, and no database has a part in them.
  system = await createTestSystem('mini');
});
afterAll(async () => {
  await system[Symbol.asyncDispose]();
});

const nameOf = ({ method, path }: Endpoint) => `${method} ${path}`;

test('every public endpoint of the contracts is served once, and nothing else', async () => {
  const described = await publicEndpoints();
  expect(described.length).toBeGreaterThan(50);
  const unbound = described.filter((endpoint) => !system.endpoints.includes(endpoint));
  expect(unbound.map((endpoint) => `bind ${nameOf(endpoint)} in services/api-service/src/routes`)).toEqual([]);
  expect(system.endpoints.map(nameOf).toSorted()).toEqual(described.map(nameOf).toSorted());
  expect(system.endpoints.filter((endpoint) => !described.includes(endpoint))).toEqual([]);
});

test('the document has all endpoints, in their order', async () => {
  const { body } = await system.stranger.get('/openapi.json').expect(200);
  const paths = system.endpoints.map(({ path }) => path.replaceAll(/\{[+*]/g, '{'));
  expect(Object.keys(body.paths as object)).toEqual([...new Set(paths)]);
});

/** Every export of the contracts that anybody, or anybody with a token, may call. */
async function publicEndpoints(): Promise<Endpoint[]> {
  const files = globSync('**/*.ts', { cwd: contracts, exclude: ['**/*.test.ts'] });
  const modules = await Promise.all(files.map(async (file) => import(new URL(file, contracts).href)));
  const exported = modules.flatMap((module) => Object.values(module as Record<string, unknown>));
  return exported.filter(isEndpoint).filter(({ auth }) => auth !== 'peer');
}

function isEndpoint(value: unknown): value is Endpoint {
  return typeof value === 'object' && value !== null && 'method' in value && 'path' in value;
}
