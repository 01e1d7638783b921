import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { expectRecords } from '../identity/identity.ts';

interface Parameter {
  name: string;
  in: string;
  example?: unknown;
  description?: string;
}

interface Operation {
  operationId: string;
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Record<string, Content> };
  responses: Record<string, { headers?: Record<string, unknown>; content?: Record<string, Content> }>;
}

interface Content {
  schema?: unknown;
  example?: unknown;
}

const [system, { admin }] = useSystem('mini');
let operations: Record<string, Operation>;
let schemas: Record<string, unknown>;

beforeAll(async () => {
  const { body } = await system.stranger.get('/openapi.json').expect(200);
  schemas = body.components.schemas as typeof schemas;
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

test('every answer is JSON, but for the exports, a checkpoint, the proof of a receipt and a bare value', () => {
  const others = Object.entries(operations).flatMap(([name, { responses }]) =>
    Object.entries(responses)
      .filter(([status]) => status !== 'default' && Number(status) < 300)
      .flatMap(([, { content = {} }]) => Object.keys(content).map((type) => [name, type]))
      .filter(([, type]) => type !== 'application/json'),
  );
  const READ = 'GET /api/v1/vaults/{vault}/secrets/{name}';
  expect(others).toEqual([
    [READ, 'text/plain'],
    [READ, 'application/octet-stream'],
    ['GET /api/v1/audit/proofs/receipt', 'text/plain'],
    ['GET /api/v1/audit/checkpoint', 'text/plain'],
    ['GET /api/v1/audit/export', 'application/x-tar'],
    ['GET /api/v1/audit/state', 'text/plain'],
  ]);
});

test('an operation of a key takes one item or many, in the document as in the answer', async () => {
  const { schema } =
    operations['POST /api/v1/vaults/{vault}/keys/{name}:encrypt']!.requestBody!.content['application/json']!;
  expect(schema).toMatchObject({
    anyOf: [
      { required: ['plaintextBase64'], not: { required: ['items'] } },
      { required: ['items'], maxProperties: 1 },
    ],
  });
  await admin.post('/vaults/told/keys', { name: 'cards', algorithm: 'aes-256-gcm' }).expect(201);
  const item = { plaintextBase64: 'YQ==' };
  const both = await admin.post('/vaults/told/keys/cards:encrypt', { ...item, items: [item] }).expect(400);
  await expectRecords(system, both, { action: 'key.encrypt', decision: 'deny', reason: 'invalid_request' });
});

test('it finds a search by metadata, under the name that the document has as an example', async () => {
  const search = operations['GET /api/v1/secrets']!.parameters!;
  expect(search.map(({ name }) => name)).toEqual(['limit', 'cursor', 'q', 'metadata.key']);
  const found = await admin.get('/secrets?metadata.key=blue').expect(200);
  expect(found.body.items).toEqual([expect.objectContaining({ vault: 'told', name: 'db/password' })]);
  await expectRecords(system, found, { action: 'secret.search', decision: 'allow' });
});

test('it learns that a slash or a colon in a name goes into a path as it is or encoded', async () => {
  const mayNeedEncoding = /\/secrets\/\{name\}|\{principal\}/;
  for (const [operation, { parameters = [] }] of Object.entries(operations)) {
    const told = parameters.filter(({ description }) => description?.includes('as %2F or %3A'));
    expect([operation, told.length]).toEqual([operation, mayNeedEncoding.test(operation) ? 1 : 0]);
  }
  for (const name of ['db/password', 'db%2Fpassword']) await admin.get(`/vaults/told/secrets/${name}`).expect(200);
});

function schemaOf(operation: string): unknown {
  return operations[operation]!.responses['200']!.content!['application/json']!.schema;
}

function headersOf(operation: string, status: string): string[] {
  return Object.keys(operations[operation]!.responses[status]!.headers!);
}

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });

const pageOf = (name: string): unknown =>
  expect.objectContaining({ properties: expect.objectContaining({ items: { type: 'array', items: ref(name) } }) });

test('every call has a name of its own, which says what it does', () => {
  const ids = Object.values(operations).map(({ operationId }) => operationId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.filter((id) => !/^[a-z][A-Za-z]+$/.test(id))).toEqual([]);
  for (const id of ['readSecret', 'writeSecret', 'listSecretVersions', 'batchReadSecrets', 'listVaults', 'login']) {
    expect(ids).toContain(id);
  }
});

test('what clients keep has a name, and is the same wherever it comes', () => {
  const shapes = Object.keys(schemas);
  for (const name of [
    'Application',
    'AuditEntry',
    'Grant',
    'Key',
    'KeyVersion',
    'Problem',
    'Secret',
    'SecretVersion',
    'User',
    'Vault',
  ]) {
    expect(shapes).toContain(name);
  }
  expect(schemaOf('GET /api/v1/vaults/{vault}/secrets/{name}')).toEqual(ref('Secret'));
  expect(schemaOf('GET /api/v1/vaults/{vault}')).toEqual(ref('Vault'));
  expect(schemaOf('GET /api/v1/vaults')).toEqual(pageOf('Vault'));
  expect(schemaOf('GET /api/v1/vaults/{vault}/secrets/{name}:versions')).toEqual(pageOf('SecretVersion'));
  expect(schemaOf('POST /api/v1/vaults/{vault}/secrets:batchRead')).toEqual(pageOf('Secret'));
  // An unused one, or one that differs between a request and an answer, would be twice there.
  const text = JSON.stringify([operations, schemas]);
  expect(shapes.filter((name) => !text.includes(`"#/components/schemas/${name}"`))).toEqual([]);
  expect(shapes.filter((name) => name.endsWith('Output'))).toEqual([]);
});

test('the headers of an answer are those that it has', async () => {
  const READ = 'GET /api/v1/vaults/{vault}/secrets/{name}';
  const told = headersOf(READ, '200');
  expect(told).toEqual(['X-Request-Id', 'Cardea-Receipt', 'ETag']);
  const read = await admin.get('/vaults/told/secrets/db/password').expect(200);
  for (const name of told) expect(read.headers).toHaveProperty(name.toLowerCase());
  await expectRecords(system, read, { action: 'secret.read', decision: 'allow' });
  expect(headersOf(READ, '304')).toEqual(['X-Request-Id', 'ETag']);
  for (const [name, { responses, security }] of Object.entries(operations)) {
    expect([name, Object.keys(responses['default']!.headers!)]).toEqual([name, ['X-Request-Id', 'Retry-After']]);
    const successes = Object.keys(responses).filter((status) => Number(status) < 300);
    const receipts = successes.filter((status) => headersOf(name, status).includes('Cardea-Receipt'));
    expect([name, receipts]).toEqual([name, security === undefined ? [] : successes]);
  }
});

test('the document is written once, and a client that has it gets 304 without a body', async () => {
  const first = await system.stranger.get('/openapi.json').expect(200);
  const tag = first.headers['etag']!;
  expect(tag).toMatch(/^"[0-9a-f]{64}"$/);
  for (const known of [tag, `"another", ${tag}`, `W/${tag}`, '*']) {
    const answer = await system.stranger.get('/openapi.json').set('If-None-Match', known).expect(304);
    expect([answer.text, answer.headers['etag']]).toEqual(['', tag]);
  }
  const other = await system.stranger.get('/openapi.json').set('If-None-Match', '"another"').expect(200);
  expect([other.headers['etag'], other.text]).toEqual([tag, first.text]);

  const refused = await system.stranger.get('/openapi.json').set('If-Match', '"another"').expect(412);
  const reason = 'precondition_failed';
  await expectRecords(system, refused, { action: 'openapi.read', decision: 'deny', reason, rule: 'if-match' });
});

test('every call has an example of what it sends and of its answer, and the contract takes them', () => {
  for (const endpoint of system.endpoints) {
    const name = `${endpoint.method} ${endpoint.path.replaceAll(/\{[+*]/g, '{')}`;
    const { parameters = [], requestBody, responses } = operations[name]!;
    const path = parameters.filter((parameter) => parameter.in === 'path');
    const query = parameters.filter((parameter) => parameter.in === 'query' && parameter.example !== undefined);
    expectTaken(name, endpoint.params, examplesOf(path));
    expectTaken(name, endpoint.query, examplesOf(query) ?? {});
    for (const { example } of Object.values(requestBody?.content ?? {})) {
      expect([name, example]).not.toEqual([name, undefined]);
      expectTaken(name, endpoint.body, example);
    }
    const [type, answer] = Object.entries(responses[String(endpoint.statuses[0])]?.content ?? {})[0] ?? [];
    // The document would be an example of itself, and the tar of an export has no text.
    if (answer === undefined || type === 'application/x-tar' || name.endsWith('/openapi.json')) continue;
    expect([name, answer.example]).not.toEqual([name, undefined]);
    expectTaken(name, endpoint.response, answer.example);
  }
});

// Parameters are sent as text.
function examplesOf(parameters: Parameter[]): Record<string, string> | undefined {
  if (parameters.length === 0) return undefined;
  return Object.fromEntries(parameters.map(({ name, example }) => [name, String(example)]));
}

function expectTaken(name: string, schema: Endpoint['body'], example: unknown): void {
  const { error } = schema.safeParse(example);
  expect([name, error?.issues]).toEqual([name, undefined]);
}

test('its patterns are understood by programs that have no Unicode classes and no lookbehind', () => {
  const patterns = [...JSON.stringify(operations).matchAll(/"pattern":("(?:[^"\\]|\\.)*")/g)];
  expect(patterns.length).toBeGreaterThan(50);
  const foreign = patterns
    .map(([, pattern]) => JSON.parse(pattern!) as string)
    .filter((pattern) => {
      return /\\[pPu]\{|\(\?</.test(pattern);
    });
  expect(foreign).toEqual([]);
});

test('an empty cursor is the start of every list', async () => {
  const lists = Object.entries(operations).filter(([name, { parameters = [] }]) => {
    return name.startsWith('GET ') && parameters.some((parameter) => parameter.name === 'cursor');
  });
  expect(lists.length).toBeGreaterThan(10);
  await admin.post('/applications', { name: 'listed' }).expect(201);
  await admin.post('/vaults/told/keys', { name: 'listed', algorithm: 'ed25519' }).expect(201);
  for (const [name] of lists) {
    const path = name
      .replace('GET /api/v1', '')
      .replace('{vault}', 'told')
      .replace(/(applications|keys)\/\{name\}/, '$1/listed');
    const query = path === '/secrets' ? 'q=pass&cursor=' : 'cursor=';
    const { body, status } = await admin.get(`${path.replace('{name}', 'db/password')}?${query}`);
    expect([name, status]).toEqual([name, 200]);
    expect([name, Array.isArray(body.items)]).toEqual([name, true]);
  }
});
