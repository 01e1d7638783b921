import type { AuditEvent } from '@cardea/contracts/audit-event';
import { startNginx } from '@cardea/testkit/nginx';
import type { NginxServer } from '@cardea/testkit/nginx';
import type { Entry } from '@cardea/testkit/person';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { createTestSystem } from '@cardea/testkit/system';
import { useSystem } from '@cardea/testkit/use-system';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

// A path may be sent with %2F for a slash and %3A for a colon. However it is spelled, the same is decided, limited and
// recorded, and nginx in front changes nothing. In one profile: nothing here reaches a database.
const [system, { admin, bob }] = useSystem('mini', { CARDEA_TRUSTED_PROXIES: '1' });
let nginx: NginxServer;

beforeAll(async () => {
  nginx = await startNginx(system.url);
  await admin.createVault('spelled');
  for (const name of ['db/password', 'apps/ci/token']) await admin.putSecret('spelled', name, `value of ${name}`);
  await admin.put('/vaults/spelled/grants/user:bob', { secrets: ['read'], keys: [], pathPrefix: 'apps' }).expect(201);
  await admin.post('/vaults/spelled/keys', { name: 'cards', algorithm: 'aes-256-gcm' }).expect(201);
});
afterAll(async () => {
  await nginx.stop();
});

interface Call {
  method?: string;
  path: string;
  body?: object;
}

const VAULT = '/api/v1/vaults/spelled';

const calls: [what: string, Call][] = [
  ['a secret on the hot path', { path: `${VAULT}/secrets/db/password` }],
  ['a secret below a prefix', { path: `${VAULT}/secrets/apps/ci/token` }],
  ['a secret that is not there', { path: `${VAULT}/secrets/apps/none` }],
  ['an old version', { path: `${VAULT}/secrets/apps/ci/token?version=7` }],
  ['a write', { method: 'PUT', path: `${VAULT}/secrets/db/password`, body: { value: 'value of db/password' } }],
  ['the versions of a secret', { path: `${VAULT}/secrets/db/password:versions` }],
  ['a verb of a vault', { method: 'POST', path: `${VAULT}/secrets:batchRead`, body: { names: ['apps/ci/token'] } }],
  ['a key on the hot path', { method: 'POST', path: `${VAULT}/keys/cards:encrypt`, body: { plaintextBase64: '!' } }],
  ['a grant', { method: 'DELETE', path: `${VAULT}/grants/application:none` }],
  ['an explanation', { method: 'POST', path: '/api/v1/access:explain', body: { principal: 'user:bob' } }],
  ['a list', { path: '/api/v1/vaults?limit=1' }],
  ['a path that climbs', { path: `${VAULT}/secrets/apps/../db/password` }],
  ['a path that climbs out', { path: '/api/v1/vaults/../users' }],
  ['a path with two slashes', { path: `${VAULT}/secrets//db/password` }],
  ['a verb that does not exist', { method: 'POST', path: `${VAULT}/secrets/db/password:explode` }],
  ['nothing', { path: '/api/v2' }],
];

/** Every separator of a path encoded; every second one; only those of the name. The first slash makes it a path. */
function spellingsOf(path: string): string[] {
  const mark = path.includes('?') ? path.indexOf('?') : path.length;
  const [sent, query] = [path.slice(1, mark), path.slice(mark)];
  const encode = (code: (count: number, at: number) => string) => {
    let count = 0;
    return `/${sent.replaceAll(/[/:]/g, (plain, at: number) => {
      count += 1;
      const encoded = code(count, at);
      return encoded === '' ? plain : plain === '/' ? `%2${encoded}` : encoded === 'F' ? '%3A' : '%3a';
    })}${query}`;
  };
  const name = sent.lastIndexOf('secrets/') + 'secrets/'.length - 1;
  return [
    encode(() => 'F'),
    encode(() => 'f'),
    encode((count) => (count % 2 === 0 ? 'F' : '')),
    encode((count) => (count % 2 === 1 ? 'f' : '')),
    encode((_count, at) => (at > name ? 'F' : '')),
  ];
}

describe('however it is spelled, directly and through nginx, the same is decided and recorded about', () => {
  // The hot path serves whose token was verified before.
  beforeAll(async () => {
    for (const person of [admin, bob]) await person.get('/vaults').expect(200);
  });

  test.each(calls)('%s', async (_what, { path, ...call }) => {
    for (const { token } of [admin, bob]) {
      const ways = [path, ...spellingsOf(path)].flatMap((target) =>
        [system.url, nginx.url].map((url) => ({ url, target })),
      );
      const answers: RawAnswer[] = [];
      for (const { url, target } of ways) answers.push(await sendAs(url, token, { path: target, ...call }));
      const records = await newestEvents();
      const [decided, ...others] = answers.map((answer) => decisionOf(answer, records));
      expect(decided).toMatchObject({ events: [expect.anything()] });
      for (const [at, other] of others.entries())
        expect({ ...ways[at + 1], ...other }).toEqual({ ...ways[at + 1], ...decided });
    }
  });

  test('what the spellings decide is not all the same', async () => {
    const read = async (token: string, name: string) =>
      (await sendAs(nginx.url, token, { path: `${VAULT}/secrets/${name}` })).status;
    expect(await read(admin.token, 'db%2Fpassword')).toBe(200);
    expect(await read(bob.token, 'db%2Fpassword')).toBe(404);
    expect(await read(bob.token, 'apps%2fci%2Ftoken')).toBe(200);
    const { headers } = await sendAs(system.url, bob.token, { path: `${VAULT}/secrets/apps%2fci%2Ftoken` });
    expect(headers['ratelimit-policy']).toMatch(/^"reads"/);
  });
});

// A `%` that is left could be a spelling to somebody else. nginx itself refuses what is no encoding, without a record.
test.each(['%252F', '%2%46', '%2', '%2%2FF', '%c0%af', '%5C', '%2E', '%64', '%3', '%23', '%3F'])(
  'a path with %s is refused as odd, directly and through nginx',
  async (code) => {
    for (const url of [system.url, nginx.url]) {
      const answer = await sendAs(url, admin.token, { path: `${VAULT}/secrets/db${code}password` });
      expect(answer.status).toBe(400);
      const { events } = decisionOf(answer, await newestEvents());
      const refusal = { action: 'request.refuse', decision: 'deny', suspicious: 'odd_path' };
      const isRefusedByNginx = url === nginx.url && /%(?![\da-f]{2})/i.test(`${code}password`);
      expect(events).toEqual(isRefusedByNginx ? [] : [expect.objectContaining(refusal)]);
    }
  },
);

test('every spelling of a sign-in counts as one', async () => {
  await using limited = await createTestSystem('mini', { CARDEA_SIGN_INS_PER_MINUTE: '3' });
  const statuses: number[] = [];
  for (const target of [
    '/api/v1/auth/login',
    '/api/v1/auth%2Flogin',
    '/api%2fv1/auth/login',
    '/api/v1%2Fauth%2flogin',
  ]) {
    const body = JSON.stringify({ username: 'nobody', password: 'wrong' });
    const headers = { 'Content-Type': 'application/json' };
    statuses.push((await sendRequest(limited.url, { method: 'POST', target, headers, body })).status);
  }
  expect(statuses).toEqual([401, 401, 401, 429]);
});

test('every spelling of the webhook has its limit in nginx', async () => {
  const request = { method: 'POST', target: '/api/v1/webhooks%2Fkek-rotation' };
  const answers = await Promise.all(Array.from({ length: 60 }, () => sendRequest(nginx.url, request)));
  const own = answers.filter(({ status, headers }) => status === 429 && headers['server'] === 'nginx');
  expect(own.length).toBeGreaterThan(10);
});

function sendAs(url: string, token: string, { method = 'GET', path, body }: Call): Promise<RawAnswer> {
  const headers = { Authorization: `Bearer ${token}`, ...(body ? { 'Content-Type': 'application/json' } : {}) };
  return sendRequest(url, { method, target: path, headers, body: body ? JSON.stringify(body) : '' });
}

async function newestEvents(): Promise<AuditEvent[]> {
  const { body } = await admin.get('/audit/entries?limit=20').expect(200);
  return (body.items as Entry[]).map(({ event }) => event);
}

/** What a request has led to, without what differs between two equal requests. */
function decisionOf({ status, headers, body }: RawAnswer, records: AuditEvent[]) {
  const own = records.filter(({ requestId }) => requestId === headers['x-request-id']);
  return {
    status,
    limit: headers['ratelimit-policy'],
    allow: headers['allow'],
    body: body.replaceAll(headers['x-request-id']!, '<id>'),
    events: own.map(({ id: _id, ts: _ts, requestId: _requestId, ...event }) => event),
  };
}
