import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { AuditEvent } from '@cardea/contracts/audit-event';
import { useSystem } from '@cardea/testkit/use-system';
import type { Entry, Person } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer, RawRequest } from '@cardea/testkit/raw-http';
import { createTestSystem, profiles } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { expectAlive, readiness } from '../access/probes.ts';
import { CANARY, expectHeaders, expectRefusal } from '../access/refusals.ts';

const SECRET = '/api/v1/vaults/payments/secrets/db/password';
const LOGIN = '/api/v1/auth/login';
const PASSWORD = 'correct horse battery staple';

function signIn(system: TestSystem, username: string, password: string, headers: RawRequest['headers'] = {}) {
  return sendRequest(system.url, {
    method: 'POST',
    target: LOGIN,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ username, password }),
  });
}

describe.each(profiles)('in profile %s, the front door', (profile) => {
  const [system, { admin }] = useSystem(profile);

  beforeAll(async () => {
    await admin.createVault('payments');
    await admin.putSecret('payments', 'db/password', 'one');
    await admin.putSecret('payments', 'db/password', CANARY);
  });

  function send({ headers, ...request }: RawRequest): Promise<RawAnswer> {
    return sendRequest(system.url, { ...request, headers: { Authorization: `Bearer ${admin.token}`, ...headers } });
  }

  test.each<[number, RawRequest]>([
    [200, { target: SECRET }],
    [200, { target: '/api/v1/vaults' }],
    [200, { target: '/api/v1/openapi.json' }],
    [200, { target: '/healthz' }],
    [200, { method: 'HEAD', target: '/healthz' }],
    [200, { target: '/api/v1/audit/checkpoint' }],
    [200, { target: '/api/v1/audit/export' }],
    [
      201,
      { method: 'PUT', target: `${SECRET}2`, headers: { 'Content-Type': 'application/json' }, body: '{"value":""}' },
    ],
    [400, { target: `${SECRET}?x` }],
    [400, { target: `${SECRET}%20` }],
    [401, { target: SECRET, headers: { Authorization: undefined } }],
    [404, { target: `${SECRET}/none` }],
    [404, { target: '/' }],
    [405, { method: 'DELETE', target: '/healthz' }],
    [200, { method: 'HEAD', target: '/api/v1/vaults' }],
    [200, { method: 'HEAD', target: '/api/v1/openapi.json' }],
    [413, { method: 'PUT', target: SECRET, headers: { 'Content-Length': '131073' } }],
    [415, { method: 'PUT', target: SECRET, body: 'x' }],
    [431, { target: SECRET, headers: { Large: 'x'.repeat(17_000) } }],
  ])('gives every answer its headers and a new id: %d', async (status, request) => {
    const [answer, another] = [await send(request), await send(request)];
    expect(answer.status).toBe(status);
    expectHeaders(answer);
    expect(another.headers['x-request-id']).not.toBe(answer.headers['x-request-id']);
  });

  test('answers HEAD of the health like GET, without a body, on every port', async () => {
    const [got, headed] = [await send({ target: '/healthz' }), await send({ method: 'HEAD', target: '/healthz' })];
    expect(JSON.parse(got.body)).toEqual({ status: 'ok', version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect([headed.status, headed.body]).toEqual([200, '']);
    expect(headed.headers['content-length']).toBe(got.headers['content-length']);
    const ops = ['/healthz', '/readyz', '/metrics'].map((target) =>
      sendRequest(system.opsUrl, { method: 'HEAD', target }),
    );
    expect((await Promise.all(ops)).map(({ status }) => status)).toEqual([200, 404, 404]);
  });

  test('does not use an id that the client chose', async () => {
    const id = crypto.randomUUID();
    const answer = await send({ target: SECRET, headers: { 'X-Request-Id': id } });
    expectHeaders(answer);
    expect(answer.headers['x-request-id']).not.toBe(id);
  });

  describe('answers and records a request the same way by Express and by the hot path:', () => {
    test.each<[string, string, RawRequest['headers']?, string?]>([
      ['the newest version', SECRET],
      ['an older version', `${SECRET}?version=1`],
      ['an empty query', `${SECRET}?`],
      ['the bare value', SECRET, { Accept: 'text/plain' }],
      ['the bare bytes', SECRET, { Accept: 'application/octet-stream' }],
      ['a bare value that does not exist', `${SECRET}/none`, { Accept: 'text/plain' }],
      ['a version that does not exist', `${SECRET}?version=3`],
      ['a malformed version', `${SECRET}?version=${CANARY}`],
      ['an unknown parameter', `${SECRET}?${CANARY}`],
      ['a duplicate parameter', `${SECRET}?version=1&version=2`],
      ['a secret that does not exist', `${SECRET}/none`],
      ['a malformed name', '/api/v1/vaults/payments/secrets/..'],
      ['a vault that does not exist', '/api/v1/vaults/none/secrets/x'],
      ['a body', SECRET, { 'Content-Type': 'application/json' }, '{}'],
      ['a body of another type', SECRET, {}, CANARY],
    ])('%s', async (_what, target, headers = {}, body = '') => {
      const hot = await send({ target, headers, body });
      // A target in absolute form must be accepted (RFC 9112 section 3.2.2), and the hot path leaves it to Express.
      const express = await send({ target: `http://cardea.test${target}`, headers, body });
      expect(express.headers['ratelimit-policy']).toMatch(/^"requests"/);
      expect(hot.headers['ratelimit-policy']).toMatch(/^"reads"/);
      expect(comparable(express)).toEqual(comparable(hot));
      expect(await recordOf(admin, express)).toEqual(await recordOf(admin, hot));
    });
  });

  describe('answers and records what is done with a key the same way by Express and by the hot path:', () => {
    const KEYS = '/api/v1/vaults/payments/keys';
    const MESSAGE = { messageBase64: 'AAAA' };

    beforeAll(async () => {
      for (const [name, algorithm] of Object.entries({
        aes: 'aes-256-gcm',
        ed: 'ed25519',
        hmac: 'hmac-sha256',
        x: 'x25519',
        kem: 'ml-kem-768',
      })) {
        await admin.post('/vaults/payments/keys', { name, algorithm }).expect(201);
      }
    });

    test.each<[string, string, object | string]>([
      ['a signature', 'ed:sign', MESSAGE],
      ['a batch of signatures', 'ed:sign', { items: [MESSAGE, MESSAGE] }],
      ['a signature that does not hold', 'ed:verify', { ...MESSAGE, signature: 'none' }],
      ['a code', 'hmac:mac', MESSAGE],
      ['a code that does not hold', 'hmac:verifyMac', { ...MESSAGE, mac: 'none' }],
      ['a ciphertext that does not open', 'aes:decrypt', { ciphertext: CANARY }],
      ['a batch of ciphertexts that do not open', 'aes:decrypt', { items: [{ ciphertext: CANARY }] }],
      ['a JWS', 'ed:signJws', { payloadBase64: 'AAAA' }],
      ['a JWS that does not hold', 'ed:verifyJws', { jws: CANARY }],
      ['a peer of another algorithm', 'x:deriveSharedSecret', { peerPublicKeyPem: CANARY }],
      ['a key that encapsulates nothing', 'x:encapsulate', {}],
      ['a ciphertext that carries nothing', 'kem:decapsulate', { ciphertext: CANARY }],
      ['a version that does not exist', 'aes:encrypt', { plaintextBase64: 'AAAA', keyVersion: 7 }],
      ['a key that does not exist', 'none:encrypt', { plaintextBase64: 'AAAA' }],
      ['a key that cannot do it', 'ed:encrypt', { plaintextBase64: 'AAAA' }],
      ['an unknown field', 'aes:encrypt', { plaintextBase64: 'AAAA', [CANARY]: 1 }],
      ['a plaintext that is too large', 'aes:encrypt', { plaintextBase64: Buffer.alloc(65_537).toString('base64') }],
      ['no JSON', 'aes:encrypt', CANARY],
      ['no body', 'aes:encrypt', ''],
    ])('%s', async (_what, path, body) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const request = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: text };
      const hot = await send({ ...request, target: `${KEYS}/${path}` });
      const express = await send({ ...request, target: `http://cardea.test${KEYS}/${path}` });
      expect(express.headers['ratelimit-policy']).toMatch(/^"requests"/);
      expect(hot.headers['ratelimit-policy']).toMatch(/^"reads"/);
      expect(comparable(express)).toEqual(comparable(hot));
      expect(await recordOf(admin, express)).toEqual(await recordOf(admin, hot));
    });
  });

  test('answers a wrong password and an unknown user with the same bytes, and records them differently', async () => {
    const refused = { status: 401, code: 'unauthenticated' } as const;
    const wrong = await expectRefusal(system, () => signIn(system, 'alice', CANARY), {
      ...refused,
      event: { action: 'auth.login', rule: 'bad-password' },
    });
    const unknown = await expectRefusal(system, () => signIn(system, 'nobody', CANARY), {
      ...refused,
      event: { action: 'auth.login', rule: 'no-such-user' },
    });
    expect(comparable(unknown)).toEqual(comparable(wrong));
  });

  test('ignores X-Forwarded-For where no proxy is trusted', async () => {
    const headers = { 'X-Forwarded-For': '203.0.113.7', Forwarded: 'for=203.0.113.7', 'X-Real-IP': '203.0.113.7' };
    await send({ target: SECRET, headers });
    await send({ target: '/api/v1/vaults', headers });
    await signIn(system, 'alice', 'wrong', headers);
    const newest = (await admin.auditEntries({ limit: '4' })).slice(0, 3);
    const entries = newest.map(({ event }) => [event.action, event.source?.ip]);
    expect(entries).toEqual([
      ['auth.login', '127.0.0.1'],
      ['vault.list', '127.0.0.1'],
      ['secret.read', '127.0.0.1'],
    ]);
  });

  test('answers 503 with its headers while the audit log does not answer, by Express and by the hot path', async () => {
    await system.stopService('audit');
    for (const target of [SECRET, '/api/v1/vaults', '/nowhere']) {
      const answer = await send({ target });
      expect([target, answer.status]).toEqual([target, 503]);
      expectHeaders(answer);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    }
    expect(await readiness(system)).toEqual({ status: 503, failed: ['audit'] });
    await expectAlive(system);
    await system.startService('audit');
  });
});

// The parts that may differ between two answers to the same request, and the two limits.
function comparable({ status, headers, body }: RawAnswer) {
  const { 'x-request-id': requestId = '', 'cardea-receipt': receipt, date: _date, ...others } = headers;
  const rest = Object.fromEntries(Object.entries(others).filter(([name]) => !name.startsWith('ratelimit')));
  return { status, hasReceipt: receipt !== undefined, headers: rest, body: body.replace(requestId, '<id>') };
}

async function recordOf(admin: Person, answer: RawAnswer): Promise<Partial<AuditEvent>[]> {
  const { body } = await admin.get('/audit/entries?limit=10').expect(200);
  return (body.items as Entry[])
    .filter((entry) => entry.event.requestId === answer.headers['x-request-id'])
    .map(({ event: { id: _id, ts: _ts, requestId: _requestId, ...event } }) => event);
}

const limited = (action: string) => ({
  status: 429,
  code: 'rate_limited' as const,
  event: { action, rule: 'rate-limit', actor: { id: 'anonymous', type: 'anonymous' as const } },
});

describe.each(profiles)('in profile %s, a limit', (profile) => {
  let system: TestSystem;

  afterEach(async () => {
    await system[Symbol.asyncDispose]();
  });

  test('of five sign-ins a minute lets five through, right or wrong, and then not even the right one', async () => {
    system = await createTestSystem(profile, { CARDEA_SIGN_INS_PER_MINUTE: '5' });
    await system.as('admin');
    for (let i = 0; i < 4; i += 1) expect((await signIn(system, 'alice', CANARY)).status).toBe(401);

    const headers = { 'X-Forwarded-For': '203.0.113.7' };
    const answer = await expectRefusal(
      system,
      () => signIn(system, 'alice', PASSWORD, headers),
      limited('request.refuse'),
    );
    const retryAfter = Number(answer.headers['retry-after']);
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(60);
    expect(answer.headers['ratelimit-policy']).toMatch(/"sign-in"; q=5; w=60/);
    expect(answer.headers['ratelimit']).toMatch(/"sign-in"; r=0; t=\d+/);
  });

  // The sign-in of the admin comes from the proxy's own address.
  test.each([
    ['its port', (i: number) => `203.0.113.7:${40_000 + i}`, '203.0.113.7', 6],
    ['brackets and its port', (i: number) => `[2001:db8::7]:${40_000 + i}`, '2001:db8::7', 6],
    ['what is no address', (i: number) => `unknown-${i}`, '127.0.0.1', 5],
  ])('of sign-ins counts a client once, if the proxy writes %s for each connection', async (_what, entry, ip, left) => {
    system = await createTestSystem('mini', { CARDEA_SIGN_INS_PER_MINUTE: '6', CARDEA_TRUSTED_PROXIES: '1' });
    const admin = await system.as('admin');
    const statuses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      statuses.push((await signIn(system, `nobody-${i}`, CANARY, { 'X-Forwarded-For': entry(i) })).status);
    }
    expect(statuses).toEqual(statuses.map((_, i) => (i < left ? 401 : 429)));
    const [limit] = await admin.auditEntries({ action: 'request.refuse' });
    expect(limit!.event).toMatchObject({ reason: 'rate_limited', source: { ip } });
  });

  test('of one read a second holds on the hot path, separately for each session', async () => {
    system = await createTestSystem(profile, { CARDEA_READS_PER_SECOND: '1' });
    const [admin, alice] = [await system.as('admin'), await system.as('alice')];
    await alice.createVault('payments');
    await alice.putSecret('payments', 'db/password', 'v');
    const read = (person: Person) =>
      sendRequest(system.url, { target: SECRET, headers: { Authorization: `Bearer ${person.token}` } });

    // Twice as many may come at once after a pause.
    const atOnce = await Promise.all(Array.from({ length: 10 }, () => read(alice)));
    const through = atOnce.filter(({ status }) => status === 200);
    expect(through.length).toBeGreaterThanOrEqual(2);
    expect(through[0]!.headers['ratelimit']).toBe('"reads"; r=1; t=1');
    expect((await read(admin)).status).toBe(200);

    // The requests refused at once have one record, and the others another. The next one is separate from them.
    system.passTime(2_000);
    const readTooMuch = async () => {
      for (;;) {
        const answer = await read(alice);
        if (answer.status === 429) return answer;
      }
    };
    const { id: sid } = (await alice.get('/auth/sessions').expect(200)).body.items[0] as { id: string };
    const { id } = (await alice.get('/auth/me').expect(200)).body as { id: string };
    const answer = await expectRefusal(system, readTooMuch, {
      ...limited('secret.read'),
      event: { action: 'secret.read', rule: 'rate-limit', actor: { id, type: 'user', session: sid } },
    });
    expect(answer.headers).toMatchObject({
      'retry-after': '1',
      'ratelimit-policy': '"reads"; q=1; w=1',
      ratelimit: '"reads"; r=0; t=1',
    });
  });

  test('of six requests a minute and address holds for unverified tokens, before any is verified', async () => {
    system = await createTestSystem(profile, { CARDEA_REQUESTS_PER_MINUTE: '6', CARDEA_TRUSTED_PROXIES: '1' });
    const read = (token: string, address: string) =>
      sendRequest(system.url, {
        target: SECRET,
        headers: { Authorization: `Bearer ${token}`, 'X-Forwarded-For': address },
      });
    const [known, unknown] = [await system.as('alice'), await system.as('bob')];
    expect((await read(known.token, '192.0.2.1')).headers['ratelimit-policy']).toMatch(/^"requests"/);

    const garbage = [];
    for (let i = 0; i < 8; i += 1) garbage.push(await read(`${CANARY}.${i}.x`, '192.0.2.2'));
    expect(garbage.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401, 401, 429, 429]);
    expect((await read(unknown.token, '192.0.2.2')).status).toBe(429);
    const found = await read(known.token, '192.0.2.2');
    expect([found.status, found.headers['ratelimit-policy']]).toEqual([404, '"reads"; q=5000; w=1']);
    expect((await read(unknown.token, '192.0.2.3')).status).toBe(404);
  });
});
