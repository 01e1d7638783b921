import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { expectRecords } from '../identity/identity.ts';

interface Parameter {
  name: string;
  in: string;
  description?: string;
}

interface Operation {
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, unknown> };
}

const [system, { admin }] = useSystem('mini');
let operations: Record<string, Operation>;

beforeAll(async () => {
  const { body } = await system.stranger.get('/openapi.json').expect(200);
  const paths = Object.entries(body.paths as Record<string, Record<string, Operation>>);
  operations = Object.fromEntries(
    paths.flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation]),
    ),
  );
  await admin.createVault('told');
  await admin.put('/vaults/told/secrets/db/password', { value: 'v', metadata: { key: 'blue' } }).expect(201);
});

test('a client that follows the document sends every body, and none where there is nothing to say', () => {
  const bodies = Object.entries(operations).filter(([, { requestBody }]) => requestBody !== undefined);
  expect(bodies.length).toBeGreaterThan(25);
  expect(bodies.filter(([, { requestBody }]) => requestBody!.required !== true)).toEqual([]);
  for (const without of ['POST /api/v1/auth/logout', 'POST /api/v1/users/{username}:unlock']) {
    expect(operations[without]).not.toHaveProperty('requestBody');
  }
});

test('it may send a merge patch, where the method is PATCH, and a form to the token endpoint', async () => {
  const token = operations['POST /api/v1/auth/token']!.requestBody!.content;
  expect(Object.keys(token)).toEqual(['application/x-www-form-urlencoded', 'application/json']);
  const patches = Object.entries(operations).filter(([name]) => name.startsWith('PATCH '));
  expect(patches.length).toBeGreaterThan(3);
  for (const [, { requestBody }] of patches) {
    expect(Object.keys(requestBody!.content)).toEqual(['application/json', 'application/merge-patch+json']);
  }
  const patched = await admin
    .request('patch', '/vaults/told/secrets/db/password')
    .set('Content-Type', 'application/merge-patch+json')
    .send(JSON.stringify({ maxVersions: 7 }))
    .expect(200);
  await expectRecords(system, patched, { action: 'secret.update', decision: 'allow' });
});

test('it finds a search by metadata, under the name that the document has as an example', async () => {
  const search = operations['GET /api/v1/secrets']!.parameters!;
  expect(search.map(({ name }) => name)).toEqual(['limit', 'cursor', 'q', 'metadata.key']);
  const found = await admin.get('/secrets?metadata.key=blue').expect(200);
  expect(found.body.items).toEqual([expect.objectContaining({ vault: 'told', name: 'db/password' })]);
  await expectRecords(system, found, { action: 'secret.search', decision: 'allow' });
});

test('it learns that the names with a slash or a colon go into a path as they are', async () => {
  const mayNeedEncoding = /\/secrets\/\{name\}|\{principal\}/;
  for (const [operation, { parameters = [] }] of Object.entries(operations)) {
    const told = parameters.filter(({ description }) => description?.includes('not percent-encoded'));
    expect([operation, told.length]).toEqual([operation, mayNeedEncoding.test(operation) ? 1 : 0]);
  }
  await admin.get('/vaults/told/secrets/db/password').expect(200);
  await admin.get('/vaults/told/secrets/db%2Fpassword').expect(400);
});
