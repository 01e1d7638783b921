import { connect } from 'node:net';
import { toBytes } from '@cardea/testkit/raw-http';
import type { RawRequest } from '@cardea/testkit/raw-http';
import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { signIn } from '../identity/identity.ts';

const SECRET = '/api/v1/vaults/payments/secrets/db/password';

const [system, { admin, alice }] = useSystem('mini');

beforeAll(async () => {
  await alice.createVault('payments');
  await alice.putSecret('payments', 'db/password', 'old');
});

const put = (value: string): RawRequest => ({
  method: 'PUT',
  target: SECRET,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ value }),
});
const get: RawRequest = { target: SECRET };

/** Sends all requests at once on one connection, and returns the statuses and values of the answers. */
async function pipeline(
  requests: RawRequest[],
  token = alice.token,
): Promise<{ statuses: number[]; values: string[] }> {
  const { hostname, port } = new URL(system.url);
  const socket = connect(Number(port), hostname).setEncoding('utf8');
  let received = '';
  socket.on('data', (text: string) => (received += text));
  const last = requests.length - 1;
  const bytes = requests.map(({ headers, ...request }, i) => {
    const Connection = i === last ? 'close' : undefined;
    return toBytes({ ...request, headers: { Authorization: `Bearer ${token}`, Connection, ...headers } });
  });
  socket.write(Buffer.concat(bytes));
  await new Promise((resolve, reject) => socket.on('close', resolve).on('error', reject));
  return {
    statuses: [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)),
    values: [...received.matchAll(/"value":"(\w+)"/g)].map(([, value]) => value!),
  };
}

/** The actions of the newest records about the secret, oldest first. */
async function newest(count: number): Promise<string[]> {
  const entries = await admin.auditEntries({ vault: 'payments' });
  return entries
    .slice(0, count)
    .map(({ event }) => `${event.action} ${event.decision}`)
    .toReversed();
}

test('a read behind a write shows what was written, and one before it what was there', async () => {
  expect(await pipeline([get, put('new'), get])).toEqual({ statuses: [200, 200, 200], values: ['old', 'new'] });
  expect(await newest(3)).toEqual(['secret.read allow', 'secret.write allow', 'secret.read allow']);
});

test('writes are done in their order', async () => {
  const values = Array.from({ length: 10 }, (_, i) => `v${i}`);
  const sent = values.flatMap((value) => [put(value), get]);
  expect((await pipeline(sent)).values).toEqual(values);
});

test('a read behind a deletion finds nothing', async () => {
  await alice.putSecret('payments', 'gone', 'v');
  const target = SECRET.replace('db/password', 'gone');
  expect((await pipeline([{ method: 'DELETE', target }, { target }])).statuses).toEqual([204, 404]);
  expect(await newest(2)).toEqual(['secret.delete allow', 'secret.read deny']);
});

test('a request behind a sign-out is refused', async () => {
  const { person } = await signIn(system, { username: 'alice' });
  const logout = { method: 'POST', target: '/api/v1/auth/logout' };
  const { statuses, values } = await pipeline([logout, get, { target: '/api/v1/auth/me' }], person.token);
  expect({ statuses, values }).toEqual({ statuses: [204, 401, 401], values: [] });
});

test('nothing is done behind an answer that closes the connection', async () => {
  const closing = { ...put('last'), headers: { 'Content-Type': 'application/json', Connection: 'close' } };
  expect((await pipeline([closing, put('lost')])).statuses).toEqual([200]);
  const refused = { ...put('x'), headers: { 'Content-Type': 'application/json', 'Content-Length': '999999' } };
  expect((await pipeline([refused, put('lost')])).statuses).toEqual([413]);
  expect(await alice.readSecret('payments', 'db/password')).toBe('last');
});

test('broken HTTP behind a request is answered behind it', async () => {
  const broken = { method: 'GET', target: 'without a slash' };
  expect(await pipeline([put('kept'), get, broken])).toEqual({ statuses: [200, 200, 400], values: ['kept'] });
});

test('reads are answered together', async () => {
  const { statuses } = await pipeline(Array.from({ length: 50 }, () => get));
  expect(statuses).toEqual(Array.from({ length: 50 }, () => 200));
});
