import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { DOCUMENT_BODY_BYTES_MAX } from '@cardea/contracts/secrets/documents';
import type { Person, Stranger } from '@cardea/testkit/person';
import { parseAnswer } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { PASSWORD, createTestSystem, profiles } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { useSystem } from '@cardea/testkit/use-system';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { expectEventually } from '../access/probes.ts';
import { grant, newApplication } from '../access/granting.ts';
import { clientAt, expectRecords } from '../identity/identity.ts';

const IMPORT = '/api/v1/vaults/payments/secrets:import';
const LOGIN = '/api/v1/auth/login';
const REFRESH = '/api/v1/auth/refresh';
/** The share of one network in requests without a token. */
const STRANGERS_EACH = 64;
/** The bound for all networks. */
const STRANGERS_ALL = 1_024;
/** The share of a caller in the bytes of bodies that are not large. */
const BODIES_EACH = 8 * 2 ** 20;

/** The calls of a key that take large bodies. */
const KEY_CALLS = 'encrypt decrypt rewrap sign verify mac verifyMac generateDataKey generateDataKeyWithoutPlaintext'
  .split(' ')
  .map((call) => `keys/k:${call}`);

let open: Socket[] = [];
afterEach(() => {
  for (const socket of open) socket.destroy();
  open = [];
});

/** What a client has sent, and the answer once the server has closed the connection. */
interface Sent {
  socket: Socket;
  answer: Promise<RawAnswer>;
  closed: Promise<unknown>;
}

async function send(system: TestSystem, ...parts: (string | Buffer)[]): Promise<Sent> {
  const { hostname, port } = new URL(system.url);
  const socket = connect(Number(port), hostname);
  open.push(socket);
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  // The server closes the connection of a request that it has not read to its end.
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const answer = closed.then(() => parseAnswer(Buffer.concat(received).toString()));
  answer.catch(() => {});
  await once(socket, 'connect');
  for (const part of parts) socket.write(part);
  return { socket, answer, closed };
}

/** The first answer to any of the requests that are held back: which of them is the oldest depends on how fast each is identified. */
async function firstAnswer(): Promise<RawAnswer> {
  const [data] = (await Promise.race(open.map((socket) => once(socket, 'data')))) as [Buffer];
  return parseAnswer(data.toString());
}

function header(target: string, fields: Record<string, string | number>, by?: Person): string {
  const all = { Host: 'cardea.test', 'Content-Type': 'application/json', ...fields };
  const authorization = by ? { Authorization: `Bearer ${by.token}` } : {};
  const lines = Object.entries({ ...all, ...authorization }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

const importing = (by: Stranger, name: string) =>
  by.post('/vaults/payments/secrets:import', { format: 'dotenv', content: `${name}=x` });

const almostAll = Buffer.alloc(DOCUMENT_BODY_BYTES_MAX - 1, ' ');

describe.each(profiles)('what callers have under way in profile %s', (profile) => {
  const [system, { admin, alice, bob }] = useSystem(profile, { CARDEA_TRUSTED_PROXIES: '1' });

  beforeAll(async () => {
    await alice.createVault('payments');
    await alice.put('/vaults/payments/grants/user:bob', { secrets: ['write'] }).expect(201);
  });

  /** Sends an import of 12 MiB without its last byte. */
  const holdImport = (by: Person) =>
    send(system, header(IMPORT, { 'Content-Length': DOCUMENT_BODY_BYTES_MAX }, by), almostAll);

  /** Resolves once the server has read what was held back so far: then nothing more of that size is taken. */
  async function expectRefused(by: Person, message: string): Promise<void> {
    await expectEventually(async () => {
      const { answer } = await send(system, header(IMPORT, { 'Content-Length': DOCUMENT_BODY_BYTES_MAX }, by));
      open.at(-1)!.setTimeout(2_000, () => open.at(-1)!.destroy());
      const { status, headers, body } = await answer;
      expect([status, headers['retry-after']]).toEqual([429, '1']);
      expect(JSON.parse(body).detail).toBe(message);
    });
  }

  test('a caller has a share of the bytes of large bodies, and others are served', async () => {
    await holdImport(alice);
    await expectRefused(alice, 'too many bytes of bulk requests of yours are under way');
    const chunked = await send(system, header(IMPORT, { 'Transfer-Encoding': 'chunked' }, alice));
    for (let sent = 0; sent < 12; sent += 1) chunked.socket.write(`100000\r\n${' '.repeat(2 ** 20)}\r\n`);
    // A client that goes on sending after the answer may lose it, and learns only that the connection is closed.
    await chunked.closed;
    // The first refusal has a record of its own. Those that follow within a second are counted.
    const [newest] = await admin.auditEntries({ action: 'secret.import', decision: 'deny' });
    const facts = { reason: 'rate_limited', rule: 'under-way', actor: { name: 'alice' } };
    expect(newest?.event).toMatchObject(facts);

    await importing(bob, 'of-bob').expect(200);
    await alice.putSecret('payments', 'small', 'a request that is not large');
    for (const socket of open) socket.destroy();
    await expectEventually(async () => void (await importing(alice, 'of-alice').expect(200)));
  });

  test('all callers together have a bound, which leaves room for what is not large', async () => {
    const names = ['one', 'two'];
    const applications = await Promise.all(names.map((name) => newApplication(system, name)));
    for (const name of names) await grant(alice, 'payments', `application:${name}`, { secrets: ['write'] }).expect(201);
    const [fourth, last] = applications as [Person, Person];
    for (const caller of [alice, bob, admin, fourth]) await holdImport(caller);
    await expectRefused(last, 'too many bytes of bulk requests of all callers are under way');
    await last.putSecret('payments', 'beside', 'x');
  });

  test.each([...['import', 'batchWrite', 'delete'].map((call) => `secrets:${call}`), ...KEY_CALLS])(
    'nobody may send a large body to %s without a right in the vault',
    async (call) => {
      const person = await newApplication(system, `without-${call.replace(/\W/g, '-').toLowerCase()}`);
      const target = `/api/v1/vaults/payments/${call}`;
      const { answer } = await send(system, header(target, { 'Content-Length': 1_000_000 }, person));
      const refused = await answer;
      expect(refused.status).toBe(404);
      await expectRecords(system, refused, { decision: 'deny', reason: 'not_found', rule: 'default-deny' });
    },
  );

  test('a network has a share of the requests without a token, and others sign in', async () => {
    const from = { 'X-Forwarded-For': '192.0.2.1', 'Content-Length': 100 };
    for (let held = 0; held < STRANGERS_EACH; held += 1) await send(system, header(LOGIN, from), '{');
    const credentials = { username: 'alice', password: PASSWORD };
    await expectEventually(async () => {
      const refused = await clientAt(system, '192.0.2.1').post('/auth/login', credentials).expect(429);
      expect(refused.headers['retry-after']).toBe('1');
      expect(refused.body.detail).toBe('too many requests without a token of yours are under way');
    });
    const [newest] = await admin.auditEntries({ action: 'auth.login', decision: 'deny' });
    expect(newest?.event).toMatchObject({ reason: 'rate_limited', rule: 'under-way', source: { ip: '192.0.2.1' } });
    await clientAt(system, '192.0.2.2').post('/auth/login', credentials).expect(200);
    await clientAt(system, '192.0.2.1').get('/openapi.json').expect(200);

    for (const socket of open) socket.destroy();
    await expectEventually(async () => {
      await clientAt(system, '192.0.2.1').post('/auth/login', credentials).expect(200);
    });
  });

  test('requests that are held back in many networks give way to those that arrive', async () => {
    const networks = Array.from({ length: STRANGERS_ALL / STRANGERS_EACH }, (_, i) => `198.51.100.${i}`);
    for (const network of networks) {
      const from = { 'X-Forwarded-For': network, 'Content-Length': 40 };
      for (let held = 0; held < STRANGERS_EACH; held += 1) await send(system, header(REFRESH, from), '{');
    }
    // Each network has its whole share, so the bound for all is used up.
    for (const network of networks) {
      await expectEventually(async () => {
        await clientAt(system, network).post('/auth/refresh', { refreshToken: 'x' }).expect(429);
      });
    }
    const first = firstAnswer();
    await clientAt(system, '192.0.2.9').post('/auth/login', { username: 'alice', password: PASSWORD }).expect(200);
    const refused = await first;
    expect([refused.status, refused.headers['retry-after'], refused.headers['connection']]).toEqual([
      429,
      '1',
      'close',
    ]);
    expect(JSON.parse(refused.body).detail).toMatch(/of all callers are under way, and this one had not arrived$/);
    const [newest] = await admin.auditEntries({ action: 'auth.refresh', decision: 'deny' });
    expect(newest?.event).toMatchObject({ reason: 'rate_limited', rule: 'under-way' });
  });

  test('bodies that callers hold back give way to writes of others', async () => {
    const bytes = 65_536;
    const names = ['w', 'x', 'y', 'z'];
    const holders = await Promise.all(names.map((name) => newApplication(system, `holder-${name}`)));
    const target = '/api/v1/auth/password';
    const held = Buffer.alloc(bytes - 1, ' ');
    for (const holder of holders) {
      for (let i = 0; i < BODIES_EACH / bytes; i += 1) {
        await send(system, header(target, { 'Content-Length': bytes }, holder), held);
      }
    }
    // Holders have their whole share each, so the bound for all is used up: less than a small body is left.
    const first = firstAnswer();
    await expectEventually(async () => {
      await holders
        .at(-1)!
        .post('/auth/password', { newPassword: 'x'.repeat(1_000) })
        .expect(429);
    });
    await alice.putSecret('payments', 'fits', 'x'.repeat(8_000));
    const refused = await first;
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '1']);
    await expectRecords(system, refused, { decision: 'deny', reason: 'rate_limited', rule: 'under-way' });
  });
});

async function hold(system: TestSystem, count: number): Promise<void> {
  for (let held = 0; held < count; held += 1) await send(system);
}

async function refusals(system: TestSystem) {
  const entries = await (await system.as('admin')).auditEntries({ action: 'request.refuse', decision: 'deny' });
  return entries.map(({ event }) => event).filter(({ rule }) => rule === 'under-way');
}

describe('connections', () => {
  const CONNECTIONS = 40;
  const EACH = CONNECTIONS / 4;

  describe.each(profiles)('without a proxy in profile %s', (profile) => {
    const [system, { alice }] = useSystem(profile, { CARDEA_CONNECTIONS: String(CONNECTIONS) });

    test('beyond the share of a network are answered 429, and recorded', async () => {
      await hold(system, EACH);
      await expectEventually(async () => {
        const { answer } = await send(system, 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
        const { status, headers, body } = await answer;
        expect([status, headers['retry-after'], headers['connection']]).toEqual([429, '1', 'close']);
        expect(JSON.parse(body)).toMatchObject({ code: 'rate_limited', requestId: headers['x-request-id'] });
      });
      for (const socket of open) socket.destroy();
      await expectEventually(async () => void (await alice.get('/vaults').expect(200)));
      expect(await refusals(system)).toContainEqual(
        expect.objectContaining({ reason: 'rate_limited', source: { ip: '127.0.0.1' } }),
      );
    });
  });

  test('of a neighbour that is no trusted proxy have the share of a network', async () => {
    const proxy = { CARDEA_TRUSTED_PROXIES: '1', CARDEA_TRUSTED_PROXY_CIDRS: '127.0.0.2' };
    await using system = await createTestSystem('mini', { CARDEA_CONNECTIONS: String(CONNECTIONS), ...proxy });
    await hold(system, EACH);
    await expectEventually(async () => {
      const { answer } = await send(system, 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
      expect((await answer).status).toBe(429);
    });
    for (const socket of open) socket.destroy();
    await expectEventually(async () => {
      expect(await refusals(system)).toContainEqual(
        expect.objectContaining({ reason: 'rate_limited', source: { ip: '127.0.0.1' } }),
      );
    });
  });

  describe.each(profiles)('behind a proxy in profile %s', (profile) => {
    const settings = { CARDEA_CONNECTIONS: String(CONNECTIONS), CARDEA_TRUSTED_PROXIES: '1' };
    const [system, { alice }] = useSystem(profile, settings);

    test('have only the bound of all, and one beyond it is closed and recorded', async () => {
      await hold(system, EACH + 1);
      await alice.get('/vaults').expect(200);
      await hold(system, CONNECTIONS);
      await Promise.race(open.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
      for (const socket of open) socket.destroy();
      await expectEventually(async () => {
        expect(await refusals(system)).toContainEqual(
          expect.objectContaining({ reason: 'rate_limited', source: { ip: '127.0.0.1' } }),
        );
      });
    });
  });
});
