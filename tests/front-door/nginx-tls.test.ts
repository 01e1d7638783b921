import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import type { SecureVersion, TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { ensureCertificates } from '@cardea/deploy/certificates';
import type { Entry } from '@cardea/testkit/person';
import { startTlsNginx } from '@cardea/testkit/nginx';
import type { TlsNginxServer } from '@cardea/testkit/nginx';
import { sendRequest } from '@cardea/testkit/raw-http';
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
  await admin.createVault('payments');
  await admin.putSecret('payments', 'db/password', 'one');
}, 2 * MINUTE_MS);
afterAll(async () => {
  await nginx.stop();
  rmSync(folder, { recursive: true });
});

interface TlsAnswer {
  status: number | undefined;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

async function send(path: string, method = 'GET', host = new URL(nginx.url).host): Promise<TlsAnswer> {
  const [hostname, port] = host.split(':');
  const request = httpsRequest({
    host: hostname,
    port,
    method,
    path,
    ca,
    headers: { Authorization: `Bearer ${admin.token}` },
    agent: false,
  }).end();
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

test('a secret is read over TLS, and the record has the address of the client', async () => {
  const answer = await send(SECRET);
  expect([answer.status, JSON.parse(answer.body)]).toMatchObject([200, { value: 'one' }]);
  expect(answer.headers['strict-transport-security']).toBe('max-age=31536000; includeSubDomains');

  const { body } = await admin.get('/audit/entries?limit=5').expect(200);
  const { event } = (body.items as Entry[]).find((it) => it.event.requestId === answer.headers['x-request-id'])!;
  expect(event).toMatchObject({ action: 'secret.read', source: { ip: '127.0.0.1' } });
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
  test('a browser is sent to https', async () => {
    const answer = await sendRequest(nginx.plainUrl, { target: '/console/', headers: { Host: 'cardea.example.com' } });
    expect([answer.status, answer.headers['location']]).toEqual([308, 'https://cardea.example.com/console/']);
  });

  test('a program gets an error, and its request reaches nobody', async () => {
    const headers = { Authorization: `Bearer ${admin.token}` };
    const answer = await sendRequest(nginx.plainUrl, { target: SECRET, headers });
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([403, { code: 'access_denied' }]);
    expect(answer.headers['strict-transport-security']).toBeUndefined();
  });
});

test('a webhook that is sent too often gets 429, and other requests do not', async () => {
  const hook = '/api/v1/webhooks/kek-rotation';
  const answers = await Promise.all(Array.from({ length: 40 }, () => send(hook, 'POST')));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThanOrEqual(10);
  // The others arrive: api-service says that they have no JSON.
  expect(answers.filter(({ status }) => status === 415).length).toBeGreaterThanOrEqual(20);
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
