import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer, RawRequest } from '@cardea/testkit/raw-http';
import { useSystem } from '@cardea/testkit/use-system';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { CANARY } from '../access/refusals.ts';
import { expectRecords } from './identity.ts';

const FORM = 'application/x-www-form-urlencoded';
const GRANT = 'grant_type=client_credentials';

const [system, { admin }] = useSystem('mini');
let id: string;
let secret: string;
let good: string;

beforeAll(async () => {
  const { body } = await admin.post('/applications', { name: 'ci' }).expect(201);
  id = body.clientId as string;
  secret = body.clientSecret as string;
  good = basic(id, secret);
});

function ask(body: string, headers: RawRequest['headers'] = {}): Promise<RawAnswer> {
  const request = { method: 'POST', target: '/api/v1/auth/token', body, headers: { 'Content-Type': FORM, ...headers } };
  return sendRequest(system.url, request);
}

/** Expects a token and its record. */
async function expectToken(answer: RawAnswer): Promise<void> {
  expect([answer.status, JSON.parse(answer.body)]).toEqual([
    200,
    { access_token: expect.any(String), token_type: 'Bearer', expires_in: 300 },
  ]);
  // RFC 6749 section 5.1
  expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', pragma: 'no-cache' });
  await expectRecords(system, answer, { action: 'auth.token', decision: 'allow', resource: { application: 'ci' } });
}

async function expectError(
  answer: RawAnswer,
  status: number,
  error: string,
  record: Parameters<typeof expectRecords>[2] = {},
): Promise<void> {
  expect([answer.status, JSON.parse(answer.body)]).toEqual([status, expect.objectContaining({ error, status })]);
  expect(answer.headers['content-type']).toBe('application/problem+json');
  expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Basic realm="Cardea", charset="UTF-8"' : undefined);
  expect(answer.body).not.toContain(CANARY);
  await expectRecords(system, answer, { action: 'auth.token', decision: 'deny', ...record });
}

describe('the token endpoint takes what OAuth clients send (RFC 6749):', () => {
  test.each([
    ['a parameter without a value', '&scope='],
    ['credentials without values', '&client_id=&client_secret='],
    ['a parameter that Cardea does not know', '&scope=read&audience=cardea'],
    ['such a parameter twice (RFC 8707)', '&resource=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fb.example'],
    ['the name of a property of all objects', '&__proto__=x&constructor=x'],
  ])('%s', async (_what, more) => {
    await expectToken(await ask(`${GRANT}${more}`, { Authorization: good }));
  });

  test.each([
    ['in capitals', 'Application/X-WWW-Form-Urlencoded'],
    ['with a charset', `${FORM};charset=UTF-8`],
  ])('a media type %s', async (_what, type) => {
    await expectToken(await ask(`${GRANT}&client_id=${id}&client_secret=${secret}`, { 'Content-Type': type }));
  });

  test('the same in JSON', async () => {
    const body = { grant_type: 'client_credentials', client_id: '', client_secret: '', scope: '', nested: { a: [1] } };
    const headers = { Authorization: good, 'Content-Type': 'application/json' };
    await expectToken(await ask(JSON.stringify(body), headers));
  });

  test('the client id beside Basic, if it is the same', async () => {
    await expectToken(await ask(`${GRANT}&client_id=${id}`, { Authorization: good }));
  });

  test('credentials in Basic that are form-encoded more than they need', async () => {
    await expectToken(await ask(GRANT, { Authorization: basic(id.replaceAll('-', '%2D'), secret) }));
  });
});

describe('the token endpoint refuses, records, and names the error as RFC 6749 does:', () => {
  test.each([
    ['another grant type', `grant_type=${CANARY}`, 'unsupported_grant_type'],
    ['no grant type', 'scope=x', 'invalid_request'],
    ['an empty grant type', 'grant_type=', 'invalid_request'],
    ['nothing', '', 'invalid_request'],
    ['the grant type twice', `${GRANT}&${GRANT}`, 'invalid_request'],
  ])('%s', async (_what, body, error) => {
    await expectError(await ask(body, { Authorization: good }), 400, error, { reason: 'invalid_request' });
  });

  test('a body that is neither a form nor JSON', async () => {
    const answer = await ask(GRANT, { Authorization: good, 'Content-Type': 'text/plain' });
    await expectError(answer, 415, 'invalid_request');
  });

  test('two Content-Type headers', async () => {
    const answer = await ask(GRANT, { Authorization: good, 'content-type': 'text/plain' });
    await expectError(answer, 400, 'invalid_request', { suspicious: 'broken_request' });
  });

  test('a second Authorization header, of any scheme', async () => {
    for (const second of ['Basic YTpi', 'Bearer x']) {
      const answer = await ask(GRANT, { Authorization: good, authorization: second });
      await expectError(answer, 400, 'invalid_request', { rule: 'token-malformed', suspicious: 'token_malformed' });
      // So that the next has a record of its own: refusals of bad tokens within a second share one.
      system.passTime(1_000);
    }
  });

  test('the id of another client beside Basic', async () => {
    const answer = await ask(`${GRANT}&client_id=another`, { Authorization: good });
    await expectError(answer, 400, 'invalid_request', { reason: 'invalid_request' });
  });

  test('a secret in Basic and in the body', async () => {
    const answer = await ask(`${GRANT}&client_secret=${secret}`, { Authorization: good });
    await expectError(answer, 400, 'invalid_request', { reason: 'invalid_request' });
  });

  test('no credentials', async () => {
    await expectError(await ask(GRANT), 401, 'invalid_client', { rule: 'no-credential' });
  });

  test('credentials in Basic that are not base64, or another spelling of it', async () => {
    const text = good.slice('Basic '.length);
    const spellings = [`${text.slice(0, 5)}!!${text.slice(5)}`, text.replace(/=*$/, ''), basic(id, '%zz').slice(6)];
    for (const spelling of spellings) {
      const answer = await ask(GRANT, { Authorization: `Basic ${spelling}` });
      await expectError(answer, 401, 'invalid_client', { rule: 'credential-malformed' });
    }
  });

  test('a wrong secret, in Basic and in the body', async () => {
    const wrong = { rule: 'credential-malformed' } as const;
    await expectError(await ask(GRANT, { Authorization: basic(id, 'b') }), 401, 'invalid_client', wrong);
    await expectError(await ask(`${GRANT}&client_id=${id}&client_secret=b`), 401, 'invalid_client', wrong);
  });
});

test('no other endpoint has the member error or asks for Basic', async () => {
  const answer = await sendRequest(system.url, { target: '/api/v1/auth/me' });
  expect(answer.headers['www-authenticate']).toBe('Bearer');
  expect(JSON.parse(answer.body)).not.toHaveProperty('error');
  await expectRecords(system, answer, { action: 'auth.me', decision: 'deny', rule: 'no-token' });
});

function basic(name: string, password: string): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}
