import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { useSystem } from '@cardea/testkit/use-system';
import type { Entry } from '@cardea/testkit/person';
import { startNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import { parseAnswer, sendBytes, sendRequest, toBytes } from '@cardea/testkit/raw-http';
import type { RawAnswer, RawRequest } from '@cardea/testkit/raw-http';
import { oddPaths } from '../access/name-table.ts';
import { CANARY } from '../access/refusals.ts';

const SECRETS = '/api/v1/vaults/names/secrets';

// In one profile: this is about what nginx passes on, which is the same to any api-service.
const [system, { admin }] = useSystem('mini', { CARDEA_TRUSTED_PROXIES: '1' });
let nginx: NginxServer;

beforeAll(async () => {
  nginx = await startNginx(system.url);
  await admin.createVault('names');
  await admin.putSecret('names', 'there', CANARY);
});
afterAll(async () => {
  await nginx.stop();
});

function send(url: string, { headers, ...request }: RawRequest): Promise<RawAnswer> {
  return sendRequest(url, { ...request, headers: { Authorization: `Bearer ${admin.token}`, ...headers } });
}

/** The same request without nginx and through it. */
async function both(request: RawRequest): Promise<{ direct: RawAnswer; through: RawAnswer }> {
  return { direct: await send(system.url, request), through: await send(nginx.url, request) };
}

async function recordsOf(answer: RawAnswer): Promise<Entry['event'][]> {
  const { body } = await admin.get('/audit/entries?limit=20').expect(200);
  const id = answer.headers['x-request-id'];
  return (body.items as Entry[]).map(({ event }) => event).filter((event) => event.requestId === id);
}

function said({ status, headers, body }: RawAnswer) {
  const { code, detail } = (body.startsWith('{') ? JSON.parse(body) : {}) as { code?: string; detail?: string };
  return { status, type: headers['content-type'], code, detail };
}

/** An answer of nginx itself: like one of api-service, and without a record. */
async function expectOwnRefusal(answer: RawAnswer, status: number, code: string): Promise<void> {
  expect(said(answer)).toEqual({ status, code, type: 'application/problem+json', detail: expect.any(String) });
  expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  expect(JSON.parse(answer.body)).toMatchObject({ status, requestId: answer.headers['x-request-id'] });
  expect(answer.headers['server']).toBe('nginx');
  expect(await recordsOf(answer)).toEqual([]);
}

/** If the request line could be HTTP/0.9, nginx answers a request that it cannot parse without a head. */
async function expectNoRequest(request: RawRequest): Promise<void> {
  if (!request.target.includes('\n')) return expectOwnRefusal(await send(nginx.url, request), 400, 'invalid_request');
  await expect(send(nginx.url, request)).rejects.toThrow(/not an answer: .*urn:cardea:error:invalid_request/);
}

test('a public JWK Set is the same through nginx, and is cached as it says', async () => {
  await admin.post('/vaults/names/keys', { name: 'releases', algorithm: 'ed25519' }).expect(201);
  await admin.patch('/vaults/names', { publicJwks: true }).expect(200);
  const target = '/api/v1/vaults/names/keys:jwks';
  const { direct, through } = await both({ method: 'GET', target });
  expect([direct.status, through.status, through.body]).toEqual([200, 200, direct.body]);
  expect(through.headers).toMatchObject({ etag: direct.headers['etag'], 'cache-control': 'public, max-age=60' });
  const known = await both({ method: 'GET', target, headers: { 'If-None-Match': direct.headers['etag'] } });
  expect([known.direct.status, known.through.status]).toEqual([304, 304]);
});

describe('a name in a path has the same result through nginx:', () => {
  test.each(oddPaths)('$what', async ({ path, comes, refusedByNginx }) => {
    const request = (method: string, body?: string): RawRequest => ({
      method,
      target: `${SECRETS}/${path}`,
      ...(body === undefined ? {} : { body, headers: { 'Content-Type': 'application/json' } }),
    });
    if (typeof comes === 'number') {
      const put = request('PUT', '{"value":""}');
      expect((await send(system.url, put)).status).toBe(comes);
      if (refusedByNginx) return expectNoRequest(put);
      const { direct, through } = await both(put);
      expect(said(through)).toEqual(said(direct));
      expect(await recordsOf(through)).toHaveLength(1);
      return;
    }
    const put = await send(nginx.url, request('PUT', JSON.stringify({ value: `of ${path}` })));
    expect([put.status, JSON.parse(put.body)]).toMatchObject([201, { name: comes.stored }]);
    const { direct, through } = await both(request('GET'));
    expect(through.body).toBe(direct.body);
    expect(JSON.parse(through.body)).toMatchObject({ name: comes.stored, value: `of ${path}` });
    await send(nginx.url, { method: 'POST', target: `${SECRETS}/${comes.stored}:purge` });
    expect((await send(system.url, { target: `${SECRETS}?limit=2` })).body).toMatch(
      /^\{"items":\[\{"name":"there"[^[]*\]\}$/,
    );
  });
});

describe('a request has the same result through nginx:', () => {
  const json = { 'Content-Type': 'application/json' };
  test.each<[string, RawRequest]>([
    ['a query', { target: `${SECRETS}?prefix=th&limit=1` }],
    ['a duplicate parameter', { target: `${SECRETS}?limit=1&limit=2` }],
    ['a query that is not UTF-8', { target: `${SECRETS}?prefix=%ff` }],
    ['a condition', { target: `${SECRETS}/there`, headers: { 'If-None-Match': '"1"' } }],
    [
      'a write with a condition',
      { method: 'PUT', target: `${SECRETS}/there`, headers: { ...json, 'If-Match': '"7"' }, body: '{"value":"x"}' },
    ],
    ['no token', { target: `${SECRETS}/there`, headers: { Authorization: undefined } }],
    ['a method that the path does not have', { method: 'PUT', target: SECRETS, headers: json, body: '{}' }],
    ['HEAD', { method: 'HEAD', target: '/healthz' }],
    ['OPTIONS', { method: 'OPTIONS', target: SECRETS }],
    ['an unknown method', { method: 'PROPFIND', target: SECRETS }],
    ['a target in absolute form', { target: `http://cardea.test${SECRETS}/there` }],
    ['another host', { target: `${SECRETS}/there`, headers: { Host: 'elsewhere.test' } }],
    ['a body of another type', { method: 'PUT', target: `${SECRETS}/there`, body: 'x' }],
    [
      'a body in chunks',
      {
        method: 'PUT',
        target: `${SECRETS}/there`,
        headers: { ...json, 'Transfer-Encoding': 'chunked', 'Content-Length': undefined },
        body: '2\r\n{}\r\n0\r\n\r\n',
      },
    ],
    [
      'a compressed body',
      { method: 'PUT', target: `${SECRETS}/there`, headers: { ...json, 'Content-Encoding': 'gzip' }, body: 'x' },
    ],
    [
      'a body that is too large',
      { method: 'PUT', target: `${SECRETS}/there`, headers: json, body: 'x'.repeat(200_000) },
    ],
    ['a header of more than 16 KiB', { target: `${SECRETS}/there`, headers: { Large: 'x'.repeat(17_000) } }],
    ['a path of more than 16 KiB', { target: `${SECRETS}/${'x'.repeat(17_000)}` }],
    [
      'an import of 4 MiB, which must not be written to any disk',
      { method: 'POST', target: `${SECRETS}:import`, headers: json, body: importOf(4 * 1024 * 1024) },
    ],
    [
      'a larger import',
      { method: 'POST', target: `${SECRETS}:import`, headers: json, body: importOf(4 * 1024 * 1024 + 1) },
    ],
    ['a page that nginx has for itself', { target: '/.nginx/503' }],
    ['an answer of many kilobytes', { target: '/api/v1/openapi.json' }],
  ])('%s', async (_what, request) => {
    const { direct, through } = await both(request);
    expect(said(through)).toEqual(said(direct));
    expect(through.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    for (const name of Object.keys(direct.headers).filter(
      (name) => !/^(connection|date|keep-alive|transfer-encoding|content-length)$/.test(name),
    )) {
      expect(through.headers).toHaveProperty(name);
    }
    expect(nginx.errorLog()).toBe('');
  });
});

describe('nginx itself refuses, in the words of api-service and without a record:', () => {
  test.each<[string, number, string, string | RawRequest]>([
    ['no Host', 400, 'invalid_request', 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['two Hosts', 400, 'invalid_request', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n'],
    [
      'a length and chunks',
      400,
      'invalid_request',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['an unknown HTTP version', 400, 'invalid_request', 'GET / HTTP/x\r\nHost: a\r\n\r\n'],
    ['TRACE', 405, 'method_not_allowed', { method: 'TRACE', target: '/' }],
    ['a path above the root', 400, 'invalid_request', { target: '/../../etc/passwd' }],
    ['a path of more than 32 KiB', 414, 'invalid_request', { target: `/${'x'.repeat(33_000)}` }],
    ['a header of more than 32 KiB', 431, 'invalid_request', { target: '/', headers: { Large: 'x'.repeat(33_000) } }],
    [
      'a body of more than 13 MiB',
      413,
      'too_large',
      { method: 'PUT', target: '/', headers: { 'Content-Length': String(13 * 1024 * 1024 + 1) } },
    ],
  ])('%s', async (_what, status, code, request) => {
    const answer = typeof request === 'string' ? sendBytes(nginx.url, request) : send(nginx.url, request);
    await expectOwnRefusal(await answer, status, code);
  });

  test('everything while api-service does not answer, and says when to try again', async () => {
    await system.stopService('api');
    const answer = await sendRequest(nginx.url, { target: `${SECRETS}/there` });
    await system.startService('api');
    await expectOwnRefusal(answer, 503, 'unavailable');
    expect(answer.headers['retry-after']).toBe('1');
    expect((await send(nginx.url, { target: '/healthz' })).status).toBe(200);
  });
});

test('an answer of megabytes is not written to disk for a client that reads slowly', async () => {
  const lines = Array.from({ length: 480 }, (_, number) => `large/${number}=${'x'.repeat(8_000)}\n`);
  const body = JSON.stringify({ format: 'dotenv', content: lines.join('') });
  const headers = { Authorization: `Bearer ${admin.token}`, 'Content-Type': 'application/json' };
  expect((await send(nginx.url, { method: 'POST', target: `${SECRETS}:import`, headers, body })).status).toBe(200);

  const request = {
    method: 'POST',
    target: `${SECRETS}:export`,
    headers,
    body: '{"format":"dotenv","prefix":"large"}',
  };
  // Three answers one after another. The buffers of two sockets hold one of them, but not all.
  const socket = connect(Number(new URL(nginx.url).port), '127.0.0.1').pause();
  for (const Connection of ['keep-alive', 'keep-alive', 'close']) {
    socket.write(toBytes({ ...request, headers: { ...headers, Connection } }));
  }
  // Long enough for nginx to get more than that, and to need a place for it.
  await sleep(1_000);
  const answers = (await text(socket)).split(/(?=HTTP\/1\.1 )/).map(parseAnswer);
  const contents = answers.map(({ body }) => (JSON.parse(body) as { content: string }).content.length);
  const length = lines.join('').length - 480 * 'large/'.length;
  expect([answers.map(({ status }) => status), contents]).toEqual([
    [200, 200, 200],
    [length, length, length],
  ]);
  expect(nginx.errorLog()).toBe('');
  expect((await send(nginx.url, { ...request, target: `${SECRETS}:delete`, body: '{"prefix":"large"}' })).status).toBe(
    200,
  );
});

test('the client address is that of the connection, whatever the client claims', async () => {
  const forged = '203.0.113.7';
  const headers = {
    'X-Forwarded-For': forged,
    'X-Real-IP': forged,
    Forwarded: `for=${forged}`,
    'x-forwarded-for': forged,
  };
  const read = await send(nginx.url, { target: `${SECRETS}/there`, headers });
  const refused = await send(nginx.url, { target: `${SECRETS}/..`, headers });
  const stranger = await send(nginx.url, { target: SECRETS, headers: { ...headers, Authorization: undefined } });
  expect([read.status, refused.status, stranger.status]).toEqual([200, 400, 401]);
  for (const answer of [read, refused, stranger]) {
    expect((await recordsOf(answer)).map(({ source }) => source?.ip)).toEqual(['127.0.0.1']);
  }
  // The way it is trusted without a proxy in front.
  const direct = await send(system.url, { target: `${SECRETS}/there`, headers: { 'X-Forwarded-For': forged } });
  expect((await recordsOf(direct))[0]!.source?.ip).toBe(forged);
});

test('the access log has the method that was sent, also if nginx answers by itself', async () => {
  const tooLarge = { 'Content-Length': String(13 * 1024 * 1024 + 1) };
  const answer = await send(nginx.url, { method: 'PUT', target: `${SECRETS}/there`, headers: tooLarge });
  await system.stopService('api');
  const away = await sendRequest(nginx.url, { method: 'DELETE', target: `${SECRETS}/there` });
  await system.startService('api');
  const lines = nginx.accessLog().trim().split('\n');
  const lineOf = ({ headers }: RawAnswer) => lines.find((line) => line.includes(headers['x-request-id']!))!;
  expect(JSON.parse(lineOf(answer))).toMatchObject({ method: 'PUT', status: 413 });
  expect(JSON.parse(lineOf(away))).toMatchObject({ method: 'DELETE', status: 503 });
});

test('the access log has a line for each request, without its query, its token and values', async () => {
  const answer = await send(nginx.url, {
    target: `${SECRETS}?q=${CANARY}`,
    headers: { Cookie: CANARY, 'User-Agent': CANARY },
  });
  await send(nginx.url, {
    method: 'PUT',
    target: `${SECRETS}/logged`,
    headers: { 'Content-Type': 'application/json' },
    body: `{"value":"${CANARY}"}`,
  });
  await send(nginx.url, { target: `/${CANARY.slice(0, 6)}?${CANARY}`, headers: { Large: 'x'.repeat(33_000) } });
  const lines = nginx
    .accessLog()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.find((line) => line['requestId'] === answer.headers['x-request-id'])).toEqual({
    time: expect.any(String),
    client: '127.0.0.1',
    method: 'GET',
    path: SECRETS,
    status: 200,
    bytes: expect.any(Number),
    seconds: expect.any(Number),
    upstreamStatus: '200',
    requestId: answer.headers['x-request-id'],
  });
  const everything = nginx.accessLog() + nginx.errorLog();
  expect(everything).not.toContain(CANARY);
  expect(everything).not.toContain(admin.token);
});

function importOf(bytes: number): string {
  const content = `# ${'x'.repeat(bytes - 3)}\n`;
  return JSON.stringify({ format: 'dotenv', content, dryRun: true });
}
