import { connect } from 'node:net';
import { query } from '../secrets/ground.ts';
import { expectRecords } from '../identity/identity.ts';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawRequest } from '@cardea/testkit/raw-http';
import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { expectHeaders } from '../access/refusals.ts';

const SECRET = '/api/v1/vaults/payments/secrets/db/password';
const JSON_TYPE = { 'Content-Type': 'application/json' };

const [system, { admin, bob }] = useSystem('mini');

beforeAll(async () => {
  await admin.createVault('payments');
  await admin.putSecret('payments', 'db/password', 'as it was');
});

describe('HEAD is answered like GET, without the body (RFC 9110 section 9.3.2):', () => {
  test('a secret, and its record', async () => {
    const answer = await head(SECRET);
    const read = await admin.get('/vaults/payments/secrets/db/password').expect(200);
    expect([answer.status, answer.body]).toEqual([200, '']);
    expectHeaders(answer);
    expect(answer.headers).toMatchObject({ etag: '"1"', 'content-length': read.headers['content-length'] });
    await expectRecords(system, answer, { action: 'secret.read', decision: 'allow', rule: 'role:admin' });
  });

  test('a secret that has not changed', async () => {
    expect((await head(SECRET, { 'If-None-Match': '"1"' })).status).toBe(304);
    const guessed = await head(SECRET, { 'If-None-Match': '*' });
    expect(guessed.status).toBe(304);
    await expectRecords(system, guessed, { action: 'secret.read', reason: 'only the version was shown' });
  });

  test.each(['/api/v1/auth/me', '/api/v1/vaults', '/api/v1/audit/checkpoint', '/api/v1/audit/export', '/healthz'])(
    '%s',
    async (target) => {
      const answer = await head(target);
      expect([answer.status, answer.body]).toEqual([200, '']);
      expectHeaders(answer);
    },
  );

  test('with the same rights', async () => {
    const unknown = await head(SECRET, { Authorization: undefined });
    expect([unknown.status, unknown.body]).toEqual([401, '']);
    await expectRecords(system, unknown, { action: 'secret.read', decision: 'deny', rule: 'no-token' });
    const stranger = await head(SECRET, { Authorization: `Bearer ${bob.token}` });
    expect([stranger.status, stranger.body]).toEqual([404, '']);
    await expectRecords(system, stranger, { action: 'secret.read', decision: 'deny' });
  });

  test('but nothing that is no GET', async () => {
    const answer = await head('/api/v1/auth/logout');
    expect([answer.status, answer.headers['allow']]).toEqual([405, 'POST']);
    await admin.get('/auth/me').expect(200);
  });
});

describe('a client that waits before it sends its body (Expect: 100-continue)', () => {
  test('is asked for it, and then answered', async () => {
    const body = JSON.stringify({ value: 'sent after the question' });
    const answer = await converse(put(`Connection: close\r\nContent-Length: ${body.length}\r\n`), body);
    expect(statusesIn(answer)).toEqual([100, 200]);
    expect(await admin.readSecret('payments', 'db/password')).toBe('sent after the question');
    await admin.putSecret('payments', 'db/password', 'as it was');
  });

  test.each([
    ['without a token', 401, 13, ''],
    ['with a body over the limit', 413, 9_999_999, undefined],
  ])('is not asked %s, because the header decides', async (_what, status, length, auth) => {
    const answer = await converse(put(`Content-Length: ${length}\r\n`, auth), '');
    expect(statusesIn(answer)).toEqual([status]);
    const headers = { 'x-request-id': /X-Request-Id: (\S+)/i.exec(answer)?.[1] ?? '' };
    await expectRecords(system, { headers }, { action: 'secret.write', decision: 'deny' });
  });

  test('is answered before api-service stops', async () => {
    const body = JSON.stringify({ value: 'at the last moment' });
    const stopping = { done: Promise.resolve() };
    const answer = await converse(put(`Content-Length: ${body.length}\r\n`), () => {
      stopping.done = system.stopService('api');
      return body;
    });
    await stopping.done;
    await system.startService('api');
    expect(statusesIn(answer)).toEqual([100, 200]);
    // So that the client sends no further request on a connection that closes.
    expect(answer).toMatch(/connection: close/i);
  });
});

test('an empty list does not count as no body, an empty object does', async () => {
  const restore = (body: string) =>
    sendRequest(system.url, {
      method: 'POST',
      target: `${SECRET}:restore`,
      headers: { Authorization: bearer(), ...JSON_TYPE },
      body,
    });
  const list = await restore('[]');
  expect([list.status, JSON.parse(list.body)]).toEqual([
    400,
    expect.objectContaining({ detail: 'body: must not be given' }),
  ]);
  await expectRecords(system, list, { action: 'secret.restore', decision: 'deny', reason: 'invalid_request' });
  expect((await restore('{}')).status).toBe(404);
});

test('base64 with spare bits is refused, because it would come back in another spelling', async () => {
  for (const value of ['YR==', 'YWJ=', 'AAAAYWJ=']) {
    const put = await admin.put('/vaults/payments/secrets/b64', { value, encoding: 'base64' }).expect(400);
    expect(put.body.errors).toEqual([{ path: 'body.value', message: 'must be standard base64 without spare bits' }]);
    await expectRecords(system, put, { action: 'secret.write', decision: 'deny', reason: 'invalid_request' });
    const secrets = [{ name: 'b64', value, encoding: 'base64' }];
    await admin.post('/vaults/payments/secrets:batchWrite', { secrets }).expect(400);
  }
  expect(await query(system, `select name from secret where name = $1`, ['b64'])).toEqual([]);
  for (const value of ['', 'YQ==', 'YWI=', 'YWJj']) {
    await admin.put('/vaults/payments/secrets/b64', { value, encoding: 'base64' });
    expect(await admin.readSecret('payments', 'b64')).toBe(value);
  }
});

function head(target: string, headers: RawRequest['headers'] = {}) {
  return sendRequest(system.url, { method: 'HEAD', target, headers: { Authorization: bearer(), ...headers } });
}

const put = (headers: string, auth = `Authorization: ${bearer()}\r\n`) =>
  `PUT ${SECRET} HTTP/1.1\r\nHost: x\r\n${auth}Content-Type: application/json\r\nExpect: 100-continue\r\n${headers}\r\n`;

function bearer(): string {
  return `Bearer ${admin.token}`;
}

/** Sends a header, and the body after the server has asked for it. Returns everything that the server sent. */
async function converse(header: string, body: string | (() => string)): Promise<string> {
  const { hostname, port } = new URL(system.url);
  const socket = connect(Number(port), hostname).setEncoding('latin1');
  let received = '';
  socket.on('data', (text: string) => {
    const isAsked = !received.includes('100 Continue') && text.includes('100 Continue');
    received += text;
    if (isAsked) socket.write(typeof body === 'string' ? body : body());
  });
  socket.write(header);
  await new Promise((resolve, reject) => socket.on('close', resolve).on('error', reject));
  return received;
}

function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}
