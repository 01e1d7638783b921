import { beforeAll, describe, expect, test } from '@jest/globals';
import { useSystem } from '@cardea/testkit/use-system';
import type { Entry, Person } from '@cardea/testkit/person';
import { CANARY } from '../access/refusals.ts';

// In one profile: this is about the words of refusals, which are in code that knows no profile.
const [system, { admin }] = useSystem('mini');

beforeAll(async () => {
  await admin.createVault('payments');
  await admin.putSecret('payments', 'db', 'v');
});

/** The sentences of a 400, by the field that each is about. */
async function wrongFields(answer: ReturnType<Person['get']>): Promise<Record<string, string>> {
  const { body, text, headers } = await answer.expect(400);
  const { code, detail, errors } = body as Record<string, unknown> & { errors: { path: string; message: string }[] };
  expect([code, detail]).toEqual(['invalid_request', `${errors[0]!.path}: ${errors[0]!.message}`]);
  expect(text).not.toContain(CANARY);
  const records = (await admin.get('/audit/entries?decision=deny&limit=20').expect(200)).body.items as Entry[];
  const record = records.find(({ event }) => event.requestId === headers['x-request-id']);
  expect(record?.event).toMatchObject({ reason: 'invalid_request', actor: { name: 'admin' } });
  return Object.fromEntries(errors.map(({ path, message }) => [path, message]));
}

describe('a whole number in a query has decimal digits only:', () => {
  const odd = ['0x10', '%205%20', '5%20', '1e2', '', '%2B5', '-1', '1.0', '1_0', '%D9%A5', 'Infinity', 'NaN', CANARY];
  const lists: [string, string, string][] = [
    ['/vaults', 'limit', '1 to 500'],
    ['/users', 'limit', '1 to 500'],
    ['/audit/entries', 'limit', '1 to 500'],
    ['/vaults/payments/secrets', 'limit', '1 to 500'],
    ['/vaults/payments/secrets/db', 'version', `1 to ${Number.MAX_SAFE_INTEGER}`],
    ['/audit/export', 'fromSeq', `0 to ${Number.MAX_SAFE_INTEGER}`],
    ['/audit/export', 'toSeq', `0 to ${Number.MAX_SAFE_INTEGER}`],
  ];

  test.each(lists)('%s, %s', async (path, name, range) => {
    for (const text of [...odd, '9'.repeat(17), '99999999999999999999']) {
      expect([text, await wrongFields(admin.get(`${path}?${name}=${text}`))]).toEqual([
        text,
        { [`query.${name}`]: `must be a whole number from ${range}` },
      ]);
    }
  });

  test('digits have their usual meaning', async () => {
    for (const text of ['1', '2', '500', '007']) await admin.get(`/users?limit=${text}`).expect(200);
    expect((await admin.get('/users?limit=02').expect(200)).body.items).toHaveLength(2);
    await admin.get('/vaults/payments/secrets/db?version=1').expect(200);
    await admin.get('/vaults/payments/secrets/db?version=2').expect(404);
  });

  test('the document states it as an integer with its bounds', async () => {
    const { body } = await system.stranger.get('/openapi.json').expect(200);
    const schemaOf = (path: string, name: string) =>
      body.paths[`/api/v1${path}`].get.parameters.find((parameter: { name: string }) => parameter.name === name).schema;
    const limit = { type: 'integer', minimum: 1, maximum: 500, default: 100 };
    for (const path of ['/vaults', '/audit/entries', '/vaults/{vault}/grants', '/auth/sessions']) {
      expect(schemaOf(path, 'limit')).toEqual(limit);
    }
    const version = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER };
    expect(schemaOf('/vaults/{vault}/secrets/{name}', 'version')).toEqual(version);
  });
});

describe('a wrong field is described in plain words, and the message never repeats the input:', () => {
  const bodies: [string, string, unknown, Record<string, string>][] = [
    ['a missing field', '/users', { role: 'developer' }, { 'body.username': 'is required' }],
    ['a missing choice', '/users', { username: 'u' }, { 'body.role': 'is required' }],
    ['a missing body', '/users', undefined, { body: 'is required' }],
    ['a number for text', '/vaults', { name: 7 }, { 'body.name': 'must be text' }],
    ['null for text', '/vaults', { name: null }, { 'body.name': 'must be text' }],
    ['a list for an object', '/vaults', [CANARY], { body: 'must be an object' }],
    [
      'an unknown role',
      '/users',
      { username: 'u', role: CANARY },
      { 'body.role': 'must be one of admin, developer, ceo' },
    ],
    [
      'an unknown field',
      '/vaults',
      { name: 'v', 'descript\u0000ion': CANARY },
      { body: 'has a field "descript\\u0000ion" that is not known here' },
    ],
    [
      'too long',
      '/vaults',
      { name: 'v', description: CANARY.repeat(100) },
      { 'body.description': 'must have at most 1024 characters' },
    ],
    ['empty', '/auth/totp:confirm', { otp: '' }, { 'body.otp': 'must not be empty' }],
    [
      'a malformed time',
      '/users',
      { username: 'u', role: 'ceo', expiresAt: CANARY },
      { 'body.expiresAt': 'must be a time in UTC, like 2030-01-31T12:00:00Z' },
    ],
    [
      'a fraction',
      '/users',
      { username: 'u', role: 'ceo', ttlSeconds: 1.5 },
      { 'body.ttlSeconds': 'must be a whole number' },
    ],
    ['too small', '/users', { username: 'u', role: 'ceo', ttlSeconds: 0 }, { 'body.ttlSeconds': 'must be at least 1' }],
    [
      'too large',
      '/users',
      { username: 'u', role: 'ceo', ttlSeconds: 1e12 },
      { 'body.ttlSeconds': 'must be at most 3155760000' },
    ],
    [
      'several problems at once',
      '/applications',
      { name: 'App', allowedCidrs: CANARY },
      {
        'body.name': 'must have 1 to 63 characters of a-z 0-9 . _ - and begin with a letter or digit',
        'body.allowedCidrs': 'must be a list',
      },
    ],
    [
      'too many',
      '/applications',
      { name: 'app', allowedCidrs: Array.from({ length: 65 }, () => '10.0.0.0/8') },
      { 'body.allowedCidrs': 'must have at most 64 entries' },
    ],
    [
      'a malformed address',
      '/access:explain',
      { principal: 'user:alice', vault: 'payments', action: 'secret.read', ip: CANARY },
      { 'body.ip': 'must be an IPv4 or IPv6 address' },
    ],
  ];

  test.each(bodies)('%s', async (_what, path, body, expected) => {
    const post = admin.request('post', path);
    expect(await wrongFields(body === undefined ? post : post.send(body as object))).toEqual(expected);
  });

  test('booleans, ids, and an unexpected body', async () => {
    const patch = admin.patch('/users/alice', { disabled: 'true' });
    expect(await wrongFields(patch)).toEqual({ 'body.disabled': 'must be true or false' });
    expect(await wrongFields(admin.delete(`/auth/sessions/${CANARY}`))).toEqual({ 'path.id': 'must be a UUID' });
    const withBody = admin.delete('/users/alice').send({ [CANARY]: 1 });
    expect(await wrongFields(withBody)).toEqual({ body: 'must not be given' });
    const grantType = system.stranger.post('/auth/token', { grant_type: CANARY }).expect(400);
    expect((await grantType).body.detail).toBe('body.grant_type: must be client_credentials');
  });
});
