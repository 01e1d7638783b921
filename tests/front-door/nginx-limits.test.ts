import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { ClientRequest, IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { clientNetwork } from '@cardea/contracts/cidr';
import { MINUTE_MS, SECOND_MS } from '@cardea/contracts/durations';
import { startNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const CONNECTIONS_MAX = 256;
const FLOODING = '127.0.0.2';
const OTHER = '127.0.0.3';

// This is about what nginx passes on, so the api-service is one that holds back some answers.
let held: ServerResponse[] = [];
let api: Server;
let nginx: NginxServer;

beforeAll(async () => {
  api = createServer((req, res) => void (req.url === '/held' ? held.push(res) : res.end('{}')));
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  nginx = await startNginx(`http://127.0.0.1:${(api.address() as AddressInfo).port}`);
});
afterAll(async () => {
  await nginx.stop();
  api.closeAllConnections();
  api.close();
});

interface Answer {
  status: number | undefined;
  headers: IncomingMessage['headers'];
  body: unknown;
}

function begin(from: string, method: string, path: string): ClientRequest {
  const sent = request(new URL(path, nginx.url), { localAddress: from, method, agent: false });
  // One that is held is cut at the end.
  sent.on('error', () => undefined);
  return sent.end();
}

async function answerOf(sent: ClientRequest): Promise<Answer> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode, headers: response.headers, body: await json(response) };
}

function send(from: string, method = 'GET', path = '/api/v1/vaults'): Promise<Answer> {
  return answerOf(begin(from, method, path));
}

function expectRefused(answers: Answer[]): void {
  for (const { status, headers, body } of answers) {
    expect(status).toBe(429);
    expect(headers).toMatchObject({ 'content-type': 'application/problem+json', 'retry-after': '1' });
    expect(body).toMatchObject({ code: 'rate_limited', status: 429, requestId: headers['x-request-id'] });
    expect(nginx.accessLog()).toContain(`"status":429,`);
  }
}

test('an address has so many requests under way, the next ones get 429, and other addresses are answered', async () => {
  const sent = Array.from({ length: CONNECTIONS_MAX }, () => begin(FLOODING, 'GET', '/held'));
  while (held.length < CONNECTIONS_MAX) await once(api, 'request');
  expectRefused(await Promise.all(['GET', 'PUT', 'POST', 'DELETE'].map((method) => send(FLOODING, method))));
  expect((await send(OTHER)).status).toBe(200);
  expect(held).toHaveLength(CONNECTIONS_MAX);

  const ended = held.map((res) => once(res, 'close'));
  for (const one of sent) one.destroy();
  await Promise.all(ended);
  held = [];
  expect((await send(FLOODING)).status).toBe(200);
});

test('connections that an address opens and does not use make room for those of others', async () => {
  const port = Number(new URL(nginx.url).port);
  const idle: Socket[] = [];
  // More than nginx has.
  for (let count = 0; count < 2_000; count += 1) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: FLOODING });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    idle.push(socket);
  }
  expect((await send(OTHER)).status).toBe(200);
  for (const socket of idle) socket.destroy();
});

test.each(['GET', 'PUT', 'POST', 'DELETE'])(
  'an address that sends requests too fast gets 429 to a %s, and other addresses are answered',
  async (method) => {
    // The limits are higher than what a busy machine sends. So they are made smaller, and only the numbers.
    change('http.conf', 'zone=cardea_requests:10m rate=5000r/s;', 'zone=cardea_requests:10m rate=1r/m;');
    change(
      'every-server.conf',
      'limit_req zone=cardea_requests burst=2500 nodelay;',
      'limit_req zone=cardea_requests burst=5 nodelay;',
    );
    await nginx.reload();
    // Each method has addresses that have sent nothing yet.
    const number = `${method.length}${method.charCodeAt(0) % 10}`;
    const answers: Answer[] = [];
    for (let count = 0; count < 20; count += 1) answers.push(await send(`127.0.1.${number}`, method));
    const passed = answers.filter(({ status }) => status === 200);
    // The first one, the burst, and one for each minute that this took.
    expect(answers.slice(0, 6).map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 200));
    expect(passed.length).toBeLessThan(20);
    expectRefused(answers.filter((answer) => !passed.includes(answer)));
    expect((await send(`127.0.2.${number}`, 'GET')).status).toBe(200);
  },
);

function change(name: string, from: string | RegExp, to: string): void {
  const file = join(nginx.folder, 'cardea', name);
  const text = readFileSync(file, 'utf8');
  expect(text.includes(to) || text.split(from).length > 1).toBe(true);
  writeFileSync(file, text.includes(to) ? text : text.replaceAll(from, to));
}

test('a client is counted by the same part of its address as in api-service: all of IPv4, 64 bits of IPv6', async () => {
  // The module realip gives a connection the address of the header, so every address can be tried.
  change(
    'every-server.conf',
    'server_tokens off;',
    'server_tokens off; set_real_ip_from 127.0.0.1; real_ip_header X-From;',
  );
  change('http.conf', /zone=cardea_requests:10m rate=\S+;/g, 'zone=cardea_requests:10m rate=1r/m;');
  change('every-server.conf', /limit_req zone=cardea_requests .*;/g, 'limit_req zone=cardea_requests nodelay;');
  await nginx.reload();
  const sentFrom = async (address: string) => {
    const sent = request(new URL('/api/v1/vaults', nginx.url), { headers: { 'X-From': address }, agent: false });
    return (await answerOf(sent.end())).status;
  };
  const counted = new Set<string>();
  const began = performance.now();
  for (const address of [
    '192.0.2.1',
    '192.0.2.2',
    '::ffff:192.0.2.1',
    '::ffff:192.0.2.3',
    '192.0.2.3',
    '2001:db8:0:1::1',
    '2001:db8:0:1:ffff:ffff:ffff:ffff',
    '2001:db8:0:1::a0a:0',
    '2001:db8:0:2::1',
    '2001:db8:1:1::1',
    // With the bytes of the IPv4 addresses above, of a line break and of zeros.
    'c000:201:a00:a0a::1',
    'c000:201:a00:a0a::a0a',
    'c000:201::',
    '::1',
    '::c000:201',
  ]) {
    const network = clientNetwork(address);
    const status = await sentFrom(address);
    // After a minute nginx may let a network in again. A new one it always does.
    const isDue = !counted.has(network) || performance.now() - began < MINUTE_MS;
    if (isDue) expect([address, status]).toEqual([address, counted.has(network) ? 429 : 200]);
    counted.add(network);
  }
  expect(counted.size).toBe(9);
});

test('a connection that sends only a part of a header is closed after 5 s, because no limit counts it before', async () => {
  const socket = connect(Number(new URL(nginx.url).port), '127.0.0.1');
  const began = performance.now();
  socket.write('GET /api/v1/vaults HTTP/1.1\r\nX-Slow: ');
  // nginx resets a connection whose time is over.
  socket.on('error', () => undefined);
  await new Promise((closed) => socket.resume().once('close', closed));
  // Node.js and nginx look at their clocks at different moments.
  expect((performance.now() - began) / SECOND_MS).toBeGreaterThan(4);
  // By itself, nginx would wait for a minute.
  expect((performance.now() - began) / SECOND_MS).toBeLessThan(55);
});

test('what nginx itself refuses as HTTP is a problem, not a page', async () => {
  for (const [start, extra] of [
    ['GET /api/v1/vaults HTTP/1.1', 'Transfer-Encoding: gzip\r\n'],
    ['GET /api/v1/vaults HTTP/2.1', ''],
  ]) {
    const socket = connect(Number(new URL(nginx.url).port), '127.0.0.1');
    socket.write(`${start}\r\nHost: a\r\n${extra}Connection: close\r\n\r\n`);
    const answer = (await socket.toArray()).join('');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('application/problem+json');
    expect(answer).toContain('urn:cardea:error:invalid_request');
  }
});
