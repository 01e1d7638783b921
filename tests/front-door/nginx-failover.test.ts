import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { Server as HttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { SECOND_MS } from '@cardea/contracts/durations';
import { startNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { findFreePort } from '@cardea/testkit/servers';
import { useSystem } from '@cardea/testkit/use-system';

const SECRETS = '/api/v1/vaults/payments/secrets';

const [system, { admin }] = useSystem('mini', { CARDEA_TRUSTED_PROXIES: '1' });
// The other api-service takes a request and dies before it answers. Only what it has taken is known.
let dying: Server;
let taken: string[] = [];
let nginx: NginxServer;

beforeAll(async () => {
  dying = createServer((socket) => {
    socket.once('data', (bytes) => {
      taken.push(bytes.toString('latin1').split(' HTTP/')[0]!);
      socket.resetAndDestroy();
    });
  });
  dying.listen(0, '127.0.0.1');
  await once(dying, 'listening');
  await admin.createVault('payments');
});
afterAll(() => void dying.close());

// A new nginx knows of no failure.
beforeEach(async () => {
  taken = [];
  nginx = await startNginx(`http://127.0.0.1:${(dying.address() as AddressInfo).port}`, system.url);
});
afterEach(() => nginx.stop());

function send(method: string, target: string, body = ''): Promise<RawAnswer> {
  const type: Record<string, string> = body === '' ? {} : { 'Content-Type': 'application/json' };
  return sendRequest(nginx.url, { method, target, body, headers: { Authorization: `Bearer ${admin.token}`, ...type } });
}

/** Sends the same request until the dying api-service has taken one. The first two go to different ones. */
async function sendUntilTaken(method: string, target: string, body?: string): Promise<RawAnswer[]> {
  const answers = [];
  while (taken.length === 0 && answers.length < 10) answers.push(await send(method, target, body));
  return answers;
}

test('a read that one api-service does not answer goes to the other one', async () => {
  const answers = await sendUntilTaken('GET', '/healthz');
  expect(taken).toEqual(['GET /healthz']);
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
});

test.each([
  ['PUT', `${SECRETS}/put`, '{"value":"x"}'],
  ['PUT', `${SECRETS}/put`, ''],
  ['POST', `${SECRETS}:import`, '{"format":"dotenv","content":"A=1"}'],
  ['POST', `${SECRETS}/none:purge`, ''],
  ['DELETE', `${SECRETS}/none`, ''],
])('a %s of %s that was sent is sent to nobody else, and the client is told', async (method, target, body) => {
  const answers = await sendUntilTaken(method, target, body);
  expect(taken).toEqual([`${method} ${target}`]);
  const last = answers.at(-1)!;
  expect([last.status, JSON.parse(last.body)]).toMatchObject([503, { code: 'unavailable' }]);
  expect(last.headers['retry-after']).toBe('1');
  // The api-service that works had one record for each of the answers before.
  const { body: page } = await admin.get('/audit/entries?limit=20').expect(200);
  const ids = (page.items as { event: { requestId?: string } }[]).map(({ event }) => event.requestId);
  expect(answers.filter(({ headers }) => ids.includes(headers['x-request-id']))).toHaveLength(answers.length - 1);
});

test('an api-service that failed gets no request for a while', async () => {
  await sendUntilTaken('GET', '/healthz');
  for (let count = 0; count < 5; count++) expect((await send('PUT', `${SECRETS}/none`, '{}')).status).toBe(400);
  expect(taken).toHaveLength(1);
});

test('a write is answered although an api-service is not there, if nginx knows it', async () => {
  await sendUntilTaken('DELETE', `${SECRETS}/none`);
  const answer = await send('PUT', `${SECRETS}/there`, '{"value":"x"}');
  expect(answer.status).toBe(201);
});

test('an api-service that is back is asked again at once when the other one goes away', async () => {
  // With nginx's own setting, requests of ten seconds would be refused each time. A busy machine may take as long once.
  const tries: number[] = [];
  while (tries.length < 3 && !tries.some((refusedMs) => refusedMs < 8 * SECOND_MS))
    tries.push(await refusedAfterChange());
  expect(Math.min(...tries)).toBeLessThan(8 * SECOND_MS);
});

/** For how long nginx refuses requests when the second of two api-services goes away as soon as the first is back. */
async function refusedAfterChange(): Promise<number> {
  const ports = [await findFreePort(), await findFreePort()] as const;
  const rolling = await startNginx(...ports.map((port) => `http://127.0.0.1:${port}`));
  const isAnswered = async () => (await sendRequest(rolling.url, { method: 'GET', target: '/healthz' })).status === 200;
  const second = await listenAt(ports[1]);
  // nginx notices that the first one is away. It is back when the second one goes.
  expect([await isAnswered(), await isAnswered()]).toEqual([true, true]);
  const first = await listenAt(ports[0]);
  end(second);

  const goneAt = performance.now();
  let lastRefusedAt = goneAt;
  for (let sentAt = goneAt; !(await isAnswered()); sentAt = performance.now()) lastRefusedAt = sentAt;
  end(first);
  await rolling.stop();
  return lastRefusedAt - goneAt;
}

async function listenAt(port: number): Promise<HttpServer> {
  const server = createHttpServer((_request, response) => response.end());
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function end(server: HttpServer): void {
  server.close();
  server.closeAllConnections();
}
