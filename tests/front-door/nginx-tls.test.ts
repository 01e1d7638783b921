import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect as connectPlain } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { SecureVersion, TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { ensureCertificates } from '@cardea/deploy/certificates';
import type { Entry } from '@cardea/testkit/person';
import { hasIpv6, httpsPortConf, startTlsNginx } from '@cardea/testkit/nginx';
import type { TlsNginxServer } from '@cardea/testkit/nginx';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { findServer } from '@cardea/testkit/servers';
import { useSystem } from '@cardea/testkit/use-system';

const SECRET = '/api/v1/vaults/payments/secrets/db/password';
const PAGE = '<!doctype html><title>Cardea</title>';

const [system, { admin }] = useSystem('mini', { CARDEA_TRUSTED_PROXIES: '1' });
const folder = mkdtempSync(join(tmpdir(), 'cardea-nginx-tls-'));
const consoleFolder = join(folder, 'console');
const certificate = join(folder, 'tls/nginx.pem');
let nginx: TlsNginxServer;
let ca: string;

beforeAll(async () => {
  await ensureCertificates(join(folder, 'tls'), new Date(), { servers: { nginx: ['localhost', '127.0.0.1'] } });
  ca = readFileSync(join(folder, 'tls/ca.pem'), 'utf8');
  mkdirSync(consoleFolder);
  writeFileSync(join(consoleFolder, 'index.html'), PAGE);
  writeFileSync(join(consoleFolder, 'app.js'), 'export {};');
  nginx = await startTlsNginx([system.url], { certificate, key: join(folder, 'tls/nginx.key'), consoleFolder });
  // However long a busy machine takes, it takes less than the minutes after which these tests would send too slowly.
  const http = join(nginx.folder, 'cardea/http.conf');
  const conf = readFileSync(http, 'utf8');
  expect(conf).toContain('zone=cardea_webhook:1m rate=5r/s;');
  writeFileSync(http, conf.replace('zone=cardea_webhook:1m rate=5r/s;', 'zone=cardea_webhook:1m rate=1r/m;'));
  await nginx.reload();
  await admin.createVault('payments');
  await admin.putSecret('payments', 'db/password', 'one');
});
afterAll(async () => {
  await nginx.stop();
  rmSync(folder, { recursive: true });
});

interface TlsAnswer {
  status: number | undefined;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

async function send(
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
  host = '127.0.0.1',
): Promise<TlsAnswer> {
  const request = httpsRequest({
    host,
    servername: 'localhost',
    port: new URL(nginx.url).port,
    method,
    path,
    ca,
    headers: { Authorization: `Bearer ${admin.token}`, ...headers },
    agent: false,
  }).end();
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

/** An answer of nginx itself, without TLS or with it. */
function expectProblem(answer: RawAnswer | TlsAnswer, status: number, code: string): void {
  expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/problem+json']);
  expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  expect(JSON.parse(answer.body)).toMatchObject({ status, code, requestId: answer.headers['x-request-id'] });
}

const loopback = hasIpv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'];

test.each(loopback)('a secret is read over TLS, and the record has the address of the client: %s', async (ip) => {
  const answer = await send(SECRET, 'GET', {}, ip);
  expect([answer.status, JSON.parse(answer.body)]).toMatchObject([200, { value: 'one' }]);
  expect(answer.headers['strict-transport-security']).toBe('max-age=31536000; includeSubDomains');

  const { body } = await admin.get('/audit/entries?limit=5').expect(200);
  const { event } = (body.items as Entry[]).find((it) => it.event.requestId === answer.headers['x-request-id'])!;
  expect(event).toMatchObject({ action: 'secret.read', source: { ip } });
});

test('the same over HTTP/2', async () => {
  const session = connect(nginx.url, { ca });
  const stream = session.request({ ':path': SECRET, authorization: `Bearer ${admin.token}` }).end();
  const [headers] = (await once(stream, 'response')) as [Record<string, string>];
  expect([headers[':status'], JSON.parse(await text(stream))]).toMatchObject([200, { value: 'one' }]);
  session.close();
});

test('every answer of nginx itself has HSTS', async () => {
  const answers = [await send('/', 'TRACE'), await send('/console/'), await send('/nothing')];
  expect(answers.map(({ status }) => status)).toEqual([405, 200, 404]);
  for (const { headers } of answers)
    expect(headers['strict-transport-security']).toBe('max-age=31536000; includeSubDomains');
});

describe.each(['TLS', 'no TLS', 'its own counts'])('what nginx cannot read, on the port of %s,', (which) => {
  const sendBytes = async (bytes: string): Promise<string> => {
    const { port } = new URL({ TLS: nginx.url, 'no TLS': nginx.plainUrl }[which] ?? nginx.statusUrl);
    const at = { host: '127.0.0.1', port: Number(port) };
    const socket = which === 'TLS' ? connectTls({ ...at, ca, servername: 'localhost' }) : connectPlain(at);
    // nginx may have closed the connection before all is sent.
    socket.on('error', () => undefined);
    socket.write(bytes);
    return await text(socket).catch(() => '');
  };

  test.each<[string, string]>([
    ['no host', 'GET /api/v1/vaults HTTP/1.1\r\n\r\n'],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
    ['a host that is none', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
    ['an unknown version of HTTP', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n'],
    ['no HTTP at all', 'EHLO mail.example\r\n\r\n'],
    ['a header without a name', 'GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n'],
    ['a length that is no number', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n'],
  ])('is a problem or the end of the connection, and never a page: %s', async (_what, bytes) => {
    const answer = await sendBytes(bytes);
    expect(answer).not.toMatch(/<html|nginx\//i);
    if (answer !== '')
      expect(answer).toMatch(
        /^HTTP\/1\.1 400 [^]*Content-Type: application\/problem\+json\r\n[^]*"code":"invalid_request"/i,
      );
  });

  test('an unknown host is served as a known one', async () => {
    const [known, unknown] = await Promise.all(
      ['localhost', 'unknown.example'].map((host) =>
        sendBytes(`GET /nothing HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
      ),
    );
    const status = { TLS: 404, 'no TLS': 308 }[which] ?? 404;
    for (const answer of [known, unknown]) expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    if (status === 404) expect(unknown).toMatch(/application\/problem\+json/);
  });
});

test('the port of its own counts has nothing else, and says so in a problem', async () => {
  const { origin } = new URL(nginx.statusUrl);
  expect((await sendRequest(origin, { target: '/stub_status' })).body).toMatch(/^Active connections: \d+/);
  for (const target of ['/', SECRET, '/.nginx/404', '/stub_status/']) {
    expectProblem(await sendRequest(origin, { target }), 404, 'not_found');
  }
});

test.each<[SecureVersion, boolean]>([
  ['TLSv1', false],
  ['TLSv1.1', false],
  ['TLSv1.2', true],
  ['TLSv1.3', true],
])('%s is spoken: %s', async (version, isSpoken) => {
  const { hostname, port } = new URL(nginx.url);
  // At level 0 this client itself would speak the old versions.
  const options = { ca, minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
  const socket: TLSSocket = connectTls({ host: hostname, port: Number(port), ...options });
  const outcome = once(socket, 'secureConnect').then(
    () => socket.getProtocol(),
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  expect(await outcome).toBe(isSpoken ? version : 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  socket.destroy();
});

describe('the console', () => {
  test('has a policy under which only its own files run', async () => {
    const { status, headers, body } = await send('/console/');
    expect([status, body]).toEqual([200, PAGE]);
    expect(headers).toMatchObject({
      'content-type': 'text/html',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
    });
    const policy = headers['content-security-policy'] as string;
    expect(policy).toMatch(/^default-src 'none'; script-src 'self'; /);
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
  });

  test('serves its files with their types, and its page for every other address', async () => {
    const answers = [await send('/console/app.js'), await send('/console/secrets/payments/db')];
    expect(answers.map(({ status, headers }) => [status, headers['content-type']])).toEqual([
      [200, 'text/javascript'],
      [200, 'text/html'],
    ]);
  });

  test.each<[string, number, string, Record<string, string>]>([
    ['a condition that does not hold', 412, 'precondition_failed', { 'If-Match': '"other"' }],
    [
      'a date after which it has changed',
      412,
      'precondition_failed',
      { 'If-Unmodified-Since': new Date(0).toUTCString() },
    ],
  ])('%s is a problem, not a page', async (_what, status, code, headers) => {
    expectProblem(await send('/console/app.js', 'GET', headers), status, code);
  });

  test('has no parts: a range of a file is answered with the whole file', async () => {
    for (const Range of ['bytes=1000-', 'bytes=0-1']) {
      const { status, body } = await send('/console/app.js', 'GET', { Range });
      expect([status, body]).toEqual([200, 'export {};']);
    }
  });

  // What api-service would not recognise as this path, nginx must not recognise either.
  test.each([
    '/console/%2e%2e/api/v1/vaults',
    '/console/..%2fconsole/',
    '/con%73ole/',
    '/console//',
    '/console/./app.js',
    '/api/..%2fconsole/app.js',
    '/nothing/../console/',
  ])('%s is a request of api-service, which refuses it', async (path) => {
    const direct = await sendRequest(system.url, { target: path, headers: { Authorization: `Bearer ${admin.token}` } });
    expect(direct.status).toBeGreaterThanOrEqual(400);
    const { status, body } = await send(path);
    expect([status, JSON.parse(body)]).toMatchObject([direct.status, { code: JSON.parse(direct.body).code }]);
  });
});

describe('without TLS', () => {
  test('a browser is sent to https, to the port that leads there', async () => {
    const sentTo = async () => {
      const headers = { Host: 'cardea.example.com:8080' };
      const answer = await sendRequest(nginx.plainUrl, { target: '/console/', headers });
      return [answer.status, answer.headers['location']];
    };
    expect(await sentTo()).toEqual([308, `https://cardea.example.com:${new URL(nginx.url).port}/console/`]);
    writeFileSync(join(nginx.folder, 'https-port.conf'), httpsPortConf(443));
    await nginx.reload();
    expect(await sentTo()).toEqual([308, 'https://cardea.example.com/console/']);
  });

  test('a program gets an error, and its request reaches nobody', async () => {
    const headers = { Authorization: `Bearer ${admin.token}` };
    const answer = await sendRequest(nginx.plainUrl, { target: SECRET, headers });
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([403, { code: 'access_denied' }]);
    expect(answer.headers['strict-transport-security']).toBeUndefined();
  });

  test('the access log has what was asked for, without its query and its token', async () => {
    const headers = { Authorization: `Bearer ${admin.token}` };
    const sent = [
      await sendRequest(nginx.plainUrl, { method: 'PUT', target: `${SECRET}?q=canary`, headers }),
      await sendRequest(nginx.plainUrl, { target: '/console/?q=canary' }),
    ];
    const lines = nginx.accessLog().trim().split('\n');
    const lineOf = (answer: RawAnswer) => lines.find((line) => line.includes(answer.headers['x-request-id']!));
    expect(sent.map((answer) => JSON.parse(lineOf(answer) ?? '{}') as unknown)).toMatchObject([
      { client: '127.0.0.1', method: 'PUT', path: SECRET, status: 403, upstreamStatus: '' },
      { client: '127.0.0.1', method: 'GET', path: '/console/', status: 308, upstreamStatus: '' },
    ]);
    expect(nginx.accessLog()).not.toContain('canary');
    expect(nginx.accessLog()).not.toContain(admin.token);
  });

  test('certbot finds its file, and what is not there is a problem, not a page', async () => {
    const proofs = '/.well-known/acme-challenge/';
    writeFileSync(join(nginx.folder, 'acme', proofs, 'token'), 'proof');
    const found = await sendRequest(nginx.plainUrl, { target: `${proofs}token` });
    expect([found.status, found.headers['content-type'], found.body]).toEqual([200, 'text/plain', 'proof']);
    expectProblem(await sendRequest(nginx.plainUrl, { target: `${proofs}other` }), 404, 'not_found');
    expectProblem(await sendRequest(nginx.plainUrl, { target: proofs }), 403, 'access_denied');
    const large = { Large: 'x'.repeat(33_000) };
    expectProblem(await sendRequest(nginx.plainUrl, { target: '/', headers: large }), 431, 'invalid_request');
    expect((await sendRequest(nginx.plainUrl, { target: '/.nginx/404' })).status).toBe(308);
  });

  test('a client that sends requests too fast gets 429, wherever it asks', async () => {
    const file = join(nginx.folder, 'cardea/every-server.conf');
    const conf = readFileSync(file, 'utf8');
    const limit = 'limit_req zone=cardea_requests burst=2500 nodelay;';
    expect(conf).toContain(limit);
    writeFileSync(file, conf.replace(limit, 'limit_req zone=cardea_webhook burst=1 nodelay;'));
    await nginx.reload();
    for (const target of ['/', SECRET, '/.nginx/404', '/.well-known/acme-challenge/token']) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => sendRequest(nginx.plainUrl, { target })));
      const refused = answers.filter(({ status }) => status === 429);
      // The first one, the burst, and one for each minute that this took.
      expect([target, refused.length > 5]).toEqual([target, true]);
      expectProblem(refused[0]!, 429, 'rate_limited');
      expect(refused[0]!.headers['retry-after']).toBe('1');
    }
    writeFileSync(file, conf);
    await nginx.reload();
  });
});

test('a webhook that is sent too often gets 429, and other requests do not', async () => {
  const hook = '/api/v1/webhooks/kek-rotation';
  const answers = await Promise.all(Array.from({ length: 40 }, () => send(hook, 'POST')));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThanOrEqual(10);
  // The others arrive: api-service says that they have no JSON. How many depends on what came before.
  const arrived = answers.filter(({ status }) => status === 415);
  expect(arrived.length).toBeGreaterThanOrEqual(15);
  expect(arrived.length + refused.length).toBe(answers.length);
  const [{ headers, body }] = refused as [TlsAnswer];
  expect(headers).toMatchObject({ 'retry-after': '1', 'content-type': 'application/problem+json' });
  expect(JSON.parse(body)).toMatchObject({ code: 'rate_limited', status: 429, requestId: headers['x-request-id'] });
  expect((await send(SECRET)).status).toBe(200);
});

interface Finding {
  id: string;
  severity: string;
  finding: string;
}

const severe = ['MEDIUM', 'HIGH', 'CRITICAL', 'WARN', 'FATAL'];

const notAFinding = [
  // A private CA has no service that says which of its certificates are revoked. testssl has no other way to be told.
  'cert_revocation',
  // These say that the openssl of this machine cannot check something: GOST, which nobody here speaks, and tickets, which
  // are off (the finding TLS_session_ticket says so).
  'engine_problem',
  'sessionresumption_ticket',
];

test(
  'testssl.sh finds nothing above LOW',
  async () => {
    const program = findServer('testssl', 'testssl.sh');
    const report = join(folder, 'testssl.json');
    const words = ['--quiet', '--warnings', 'off', '--nodns', 'none', '--ip', '127.0.0.1', '--color', '0'];
    await promisify(execFile)(program, [
      ...words,
      '--add-ca',
      join(folder, 'tls/ca.pem'),
      '--jsonfile',
      report,
      new URL(nginx.url).host,
    ]).catch((error: { code: number }) => {
      // Its exit code is the number of findings.
      if (typeof error.code !== 'number') throw error;
    });
    const findings = JSON.parse(readFileSync(report, 'utf8')) as Finding[];
    // It has looked at everything: protocols, ciphers, headers, the certificate, vulnerabilities.
    expect(findings.map(({ id }) => id)).toEqual(
      expect.arrayContaining([
        'TLS1_3',
        'HSTS_time',
        'cert_chain_of_trust',
        'heartbleed',
        'cipherlist_NULL',
        'LUCKY13',
      ]),
    );
    expect(findings.filter(({ id, severity }) => severe.includes(severity) && !notAFinding.includes(id))).toEqual([]);
  },
  10 * MINUTE_MS,
);
