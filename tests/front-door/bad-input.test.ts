import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sendBytes, sendRequest, toBytes } from '@cardea/testkit/raw-http';
import type { RawAnswer, RawRequest } from '@cardea/testkit/raw-http';
import type { Person } from '@cardea/testkit/person';
import { createTestSystem, profiles } from '@cardea/testkit/system';
import type { TestSystem } from '@cardea/testkit/system';
import { expectEventually } from '../access/probes.ts';
import { CANARY, expectHeaders, expectRefusal } from '../access/refusals.ts';
import type { ExpectedRefusal } from '../access/refusals.ts';

const SECRET = '/api/v1/vaults/payments/secrets/db/password';
let system: TestSystem;
let admin: Person;

const written = { action: 'secret.write', actor: expect.objectContaining({ name: 'admin' }) as never };
const invalid = (event: ExpectedRefusal['event'], detail?: RegExp): ExpectedRefusal => ({
  status: 400,
  code: 'invalid_request',
  event,
  ...(detail ? { detail } : {}),
});
const malformedJson = invalid({ ...written, suspicious: 'malformed_json' });
const broken = (suspicious: string, status = 400): ExpectedRefusal => ({
  status,
  code: 'invalid_request',
  event: { action: 'request.refuse', suspicious, actor: { id: 'anonymous', type: 'anonymous' } },
});
const wrongMedia: ExpectedRefusal = { status: 415, code: 'unsupported_media_type', event: written };
const tooLarge = (detail: RegExp, event = {}): ExpectedRefusal => ({
  status: 413,
  code: 'too_large',
  detail,
  event: { ...written, ...event },
});

const good = JSON.stringify({ value: CANARY });

describe.each(profiles)('in profile %s', (profile) => {
  beforeAll(async () => {
    system = await createTestSystem(profile);
    admin = await system.as('admin');
    await admin.createVault('payments');
    await admin.putSecret('payments', 'db/password', 'as it was');
  });
  afterAll(async () => {
    expect(await admin.readSecret('payments', 'db/password')).toBe('as it was');
    await system[Symbol.asyncDispose]();
  });

  describe('a body that is refused, changes nothing and is recorded:', () => {
    const bodies: [string, string | Uint8Array, ExpectedRefusal, RawRequest['headers']?][] = [
      ['JSON that is cut off', `{"value":"${CANARY}"`, malformedJson],
      ['JSON twice', `${good}${good}`, malformedJson],
      ['JSON after a byte order mark', `\uFEFF${good}`, malformedJson],
      ['a control character within a string', `{"value":"${CANARY}\n"}`, malformedJson],
      ['a duplicate key', `{"value":"x","value":"${CANARY}"}`, malformedJson],
      ['a duplicate key, escaped once', `{"value":"x","v\\u0061lue":"${CANARY}"}`, malformedJson],
      ['the key __proto__', `{"value":"${CANARY}","__proto__":{"encoding":"base64"}}`, malformedJson],
      ['100,000 levels of nesting', '['.repeat(100_000), malformedJson],
      ['2,001 keys', `{${Array.from({ length: 2_001 }, (_, i) => `"k${i}":0`).join(',')}}`, malformedJson],
      ['an unknown field', `{"value":"x","colour":"${CANARY}"}`, invalid(written)],
      ['a list', `["${CANARY}"]`, invalid(written)],
      ['null', 'null', invalid(written)],
      ['nothing', '', invalid(written)],
      ['a value that is not text', `{"value":["${CANARY}"]}`, invalid(written, /body\.value/)],
      ['an unknown encoding', `{"value":"x","encoding":"${CANARY}"}`, invalid(written, /body\.encoding/)],
      ['a content type with a line break', `{"value":"x","contentType":"a/b\\r\\n${CANARY}"}`, invalid(written)],
      ['a lone surrogate', `{"value":"${CANARY}\\ud800"}`, invalid(written, /well-formed/)],
      ['a value that is not base64', `{"value":"${CANARY}!","encoding":"base64"}`, invalid(written, /base64/)],
      ['base64 without its padding', `{"value":"YQ","encoding":"base64"}`, invalid(written, /base64/)],
      ['base64url', `{"value":"-_-_","encoding":"base64"}`, invalid(written, /base64/)],
      [
        'invalid UTF-8',
        Buffer.from(`{"value":"${CANARY}\xff"}`, 'latin1'),
        invalid({ ...written, suspicious: 'undecodable_body' }),
      ],
      [
        'a surrogate in UTF-8',
        Buffer.from(`{"value":"\xed\xa0\x80"}`, 'latin1'),
        invalid({ ...written, suspicious: 'undecodable_body' }),
      ],
      ['a body without a type', good, wrongMedia, { 'Content-Type': undefined }],
      ['a form', `value=${CANARY}`, wrongMedia, { 'Content-Type': 'application/x-www-form-urlencoded' }],
      ['JSON in another charset', good, wrongMedia, { 'Content-Type': 'application/json; charset=latin1' }],
      ['a compressed body', good, wrongMedia, { 'Content-Encoding': 'gzip' }],
      ['a value of 8,193 bytes', toValue('x'.repeat(8_193)), tooLarge(/8192/)],
      ['a value of 8,193 bytes in 2,731 characters', toValue('€'.repeat(2_731)), tooLarge(/8192/)],
      [
        'a value of 8,193 bytes in base64',
        toValue(Buffer.alloc(8_193, 1).toString('base64'), 'base64'),
        tooLarge(/8192/),
      ],
      [
        'a body of 128 KiB and one byte',
        `"${CANARY}${'x'.repeat(131_073 - CANARY.length - 2)}"`,
        tooLarge(/131072/, { suspicious: 'oversized_body' }),
      ],
      ['a body of 4 MiB', `"${'x'.repeat(4 << 20)}"`, tooLarge(/131072/, { suspicious: 'oversized_body' })],
    ];

    test.each(bodies)('%s', async (_what, body, expected, headers = {}) => {
      await expectRefusal(system, () => put(body, headers), expected);
    });

    test('a body of 4 MiB that does not state its length', async () => {
      const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
      await expectRefusal(
        system,
        () => put(`${chunk.repeat(64)}0\r\n\r\n`, { 'Content-Length': undefined, 'Transfer-Encoding': 'chunked' }),
        tooLarge(/131072/, { suspicious: 'oversized_body' }),
      );
    });

    test('a body on a GET', async () => {
      const headers = { 'Content-Type': 'application/json' };
      await expectRefusal(
        system,
        () => send({ target: SECRET, body: good, headers }),
        invalid({ action: 'secret.read' }),
      );
    });
  });

  test.each([
    ['utf8', 'x'.repeat(8_192)],
    ['utf8', '€'.repeat(2_730) + 'xx'],
    ['utf8', '\u0000'.repeat(8_192)],
    ['base64', Buffer.alloc(8_192, 255).toString('base64')],
  ])('a value of exactly 8,192 bytes in %s is stored and read back', async (encoding, value) => {
    const name = `whole/${crypto.randomUUID()}`;
    await admin.put(`/vaults/payments/secrets/${name}`, { value, encoding }).expect(201);
    const got = await admin.get(`/vaults/payments/secrets/${name}`).expect(200);
    expect(got.body).toMatchObject({ value, encoding });
  });

  describe('a query that is refused and recorded:', () => {
    const queries: [string, string][] = [
      ['an unknown parameter', `colour=${CANARY}`],
      ['the parameter __proto__', '__proto__=1'],
      ['a duplicate parameter', 'version=1&version=1'],
      ['a duplicate parameter, escaped once', 'version=1&v%65rsion=1'],
      ['a version that is not a number', `version=${CANARY}`],
      ['version 0', 'version=0'],
      ['a version that is not a whole number', 'version=1.5'],
      ['an empty version', 'version='],
      ['a version beyond all numbers', 'version=1e999'],
      ['bytes that are not UTF-8', 'version=%FF'],
      ['a broken escape', 'version=%zz'],
    ];

    test.each(queries)('%s, for reading and writing', async (_what, query) => {
      const target = `${SECRET}?${query}`;
      await expectRefusal(system, () => send({ target }), invalid({ action: 'secret.read' }));
      const putting = () =>
        send({ method: 'PUT', target, body: good, headers: { 'Content-Type': 'application/json' } });
      await expectRefusal(system, putting, invalid(written));
    });

    test.each(['cursor=%00', 'limit=0', 'limit=501', 'prefix=%00', `prefix=${'x'.repeat(513)}`])(
      'a list with %s',
      async (query) => {
        const target = `/api/v1/vaults/payments/secrets?${query}`;
        await expectRefusal(system, () => send({ target }), invalid({ action: 'secret.list' }));
      },
    );
  });

  describe('a name that is refused and recorded, for reading and writing:', () => {
    const odd = { action: 'request.refuse', suspicious: 'odd_path' };
    const names: [string, string, ExpectedRefusal['event']?][] = [
      ['..', '..'],
      ['.. within', 'db/../../../other'],
      ['.. at the end', 'db/..'],
      ['.', '.'],
      ['. within', 'db/./password'],
      ['NUL', 'db%00', odd],
      ['a slash that is percent-encoded twice', 'db%252Fpassword', odd],
      ['a percent-encoded slash beside a slash', 'db/%2Fpassword', odd],
      ['a percent-encoded dot segment', 'db%2F%2e%2e%2Fpassword', odd],
      ['a dot segment between percent-encoded slashes', 'db%2F..%2Fpassword'],
      ['a percent-encoded letter', '%64b/password', odd],
      ['a double slash', 'db//password', odd],
      ['a backslash', 'db\\password', odd],
      ['a slash at the beginning', '/db/password', odd],
      ['a slash at the end', 'db/password/'],
      ['a fragment', 'db/password#x', odd],
      ['513 characters', `${'x'.repeat(128)}/`.repeat(3) + 'x'.repeat(126)],
      ['a segment of 129 characters', `db/${'x'.repeat(129)}`],
      ['a semicolon', 'db;password'],
      ['a tilde', '~'],
    ];

    test.each(names)('%s', async (_what, name, event = {}) => {
      const target = `/api/v1/vaults/payments/secrets/${name}`;
      await expectRefusal(system, () => send({ target }), invalid({ action: 'secret.read', ...event }));
      const putting = () =>
        send({ method: 'PUT', target, body: good, headers: { 'Content-Type': 'application/json' } });
      await expectRefusal(system, putting, invalid({ action: 'secret.write', ...event }));
    });

    test.each(['PAYMENTS', '..', '.payments', 'x'.repeat(64)])('the vault %s', async (vault) => {
      const target = `/api/v1/vaults/${vault}/secrets/db/password`;
      await expectRefusal(system, () => send({ target }), invalid({ action: 'secret.read' }));
    });

    test('a name may have 512 characters', async () => {
      const name = `${'x'.repeat(127)}/`.repeat(4).slice(0, 512).replace(/\/$/, 'y');
      expect(name).toHaveLength(512);
      await admin.put(`/vaults/payments/secrets/${name}`, { value: 'v' }).expect(201);
      expect(await admin.readSecret('payments', name)).toBe('v');
    });
  });

  // Parsers of URLs take a backslash for a slash, and refuse other targets before any handler sees the request.
  describe('a target that hides its path from a program in front is refused and recorded:', () => {
    const hidden = `/${SECRET.slice(1).replaceAll('/', '\\')}`;
    test.each([
      ['backslashes in absolute form', `http://x${hidden}`],
      ['percent-encoding in absolute form', `http://x${SECRET.replace('payments', 'p%61yments')}`],
      ['two slashes in absolute form', `http://x/${SECRET}`],
      ['an open bracket', `http://[::1${SECRET}`],
      ['a port that is no number', `http://x:y${SECRET}`],
      ['a user', `http://user@x${SECRET}`],
      ['no host', `http://${SECRET}`],
      ['another scheme', `ftp://x${SECRET}`],
    ])('%s', async (_what, target) => {
      const answer = await expectRefusal(system, () => send({ target }), {
        status: 400,
        code: 'invalid_request',
        event: { action: 'request.refuse', suspicious: 'odd_path' },
      });
      expectHeaders(answer);
    });

    test.each(['http://x', 'http://[::1]:8400', 'HTTPS://cardea.example:443'])(
      'but %s before it is not',
      async (origin) => {
        const answer = await send({ target: `${origin}${SECRET}` });
        expect([answer.status, JSON.parse(answer.body)]).toEqual([
          200,
          expect.objectContaining({ name: 'db/password' }),
        ]);
      },
    );
  });

  describe('a request without a route is refused and recorded:', () => {
    const refused = { action: 'request.refuse', actor: { id: 'anonymous', type: 'anonymous' as const } };

    test.each(['POST', 'OPTIONS', 'TRACE', 'PROPFIND'])('%s of a secret', async (method) => {
      const answer = await expectRefusal(system, () => send({ method, target: SECRET }), {
        status: 405,
        code: 'method_not_allowed',
        detail: /this path takes .*PUT/,
        event: refused,
      });
      expect(answer.headers['allow']?.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD', 'PATCH', 'PUT']);
    });

    test.each(['/', '/api', '/api/v1/', `/api/v1/${CANARY}`, '/api/v1/vaults/', `${SECRET}:explode`, '/metrics', '*'])(
      'the path %s',
      async (target) => {
        await expectRefusal(system, () => send({ target }), { status: 404, code: 'not_found', event: refused });
      },
    );
  });

  describe('broken HTTP is refused and recorded:', () => {
    const withLines = (...lines: string[]) => `GET ${SECRET} HTTP/1.1\r\nHost: x\r\n${lines.join('\r\n')}\r\n\r\n`;
    const smuggled = `GET ${SECRET} HTTP/1.1\r\nHost: x\r\n\r\n`;

    test.each([
      ['garbage', `${CANARY}\r\n\r\n`],
      ['a TLS handshake', Buffer.from('16030100010001', 'hex')],
      ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['CONNECT', `CONNECT ${CANARY}:443 HTTP/1.1\r\nHost: x\r\n\r\n`],
      ['a backslash after the host', `GET http://x\\${SECRET.slice(1)} HTTP/1.1\r\nHost: x\r\n\r\n`],
      ['no slash before the path', `GET ${SECRET.slice(1)} HTTP/1.1\r\nHost: x\r\n\r\n`],
      ['a space in the path', `GET ${SECRET} ${CANARY} HTTP/1.1\r\nHost: x\r\n\r\n`],
      ['a letter outside ASCII in the path', `GET ${SECRET}\u00e4 HTTP/1.1\r\nHost: x\r\n\r\n`],
      ['two lengths', withLines('Content-Length: 0', 'Content-Length: 5')],
      ['a length and chunks', withLines('Content-Length: 5', 'Transfer-Encoding: chunked') + `0\r\n\r\n${smuggled}`],
      ['an unknown transfer coding', withLines('Transfer-Encoding: xchunked')],
      ['a folded header', withLines(`X-A: b`, ` ${CANARY}`)],
      ['a NUL in a header', withLines(`X-A: ${CANARY}\0`)],
      ['a space before the colon', withLines('Content-Length : 5')],
    ])('%s', async (_what, bytes) => {
      await expectRefusal(system, () => sendBytes(system.url, bytes), broken('broken_request'));
    });

    test('no Host header', async () => {
      await expectRefusal(system, () => send({ target: SECRET, headers: { Host: undefined } }), broken('no_host'));
    });

    test('two Host headers', async () => {
      await expectRefusal(system, () => send({ target: SECRET, headers: { host: 'other' } }), broken('no_host'));
    });

    test('two Content-Type headers', async () => {
      const headers = { 'Content-Type': 'application/json', 'content-type': 'text/plain' };
      await expectRefusal(
        system,
        () => send({ method: 'PUT', target: SECRET, headers, body: good }),
        invalid({ ...written, suspicious: 'broken_request' }),
      );
    });

    test.each(['a b/c', 'x/y', 'user@x', 'x:y', '[::1', 'x\\y', 'x?', '[::1]x'])('the Host %s', async (host) => {
      await expectRefusal(system, () => send({ target: SECRET, headers: { Host: host } }), broken('no_host'));
    });

    test.each(['x', 'cardea.example:443', '[::1]:8400', '[2001:db8::1]', 'x:', 'a_b'])(
      'but not the Host %s',
      async (host) => {
        expect((await send({ target: SECRET, headers: { Host: host } })).status).toBe(200);
      },
    );

    test.each(['2.0', '0.9'])('HTTP/%s in clear', async (version) => {
      const bytes = () => sendBytes(system.url, `GET ${SECRET} HTTP/${version}\r\n${withToken()}\r\n`);
      await expectRefusal(system, bytes, broken('broken_request', 505));
    });

    test.each([
      ['1.1', 'gzip, chunked', 501],
      ['1.1', 'identity, chunked', 501],
      ['1.0', 'chunked', 400],
    ])('in HTTP/%s the transfer coding %s', async (version, coding, status) => {
      const chunks = `${good.length.toString(16)}\r\n${good}\r\n0\r\n\r\n`;
      const head = `PUT ${SECRET} HTTP/${version}\r\n${withToken()}Content-Type: application/json\r\n`;
      const bytes = () => sendBytes(system.url, `${head}Transfer-Encoding: ${coding}\r\n\r\n${chunks}`);
      await expectRefusal(system, bytes, broken('broken_request', status));
    });

    test('a header of more than 1,000 fields', async () => {
      const bytes = `GET ${SECRET} HTTP/1.1\r\n${'a:\r\n'.repeat(1_200)}\r\n`;
      const expected = { ...broken('oversized_header', 431), detail: /more than 1000 fields/ };
      await expectRefusal(system, () => sendBytes(system.url, bytes), expected);
    });

    test('a header of more than 16 KiB', async () => {
      const headers = { 'X-Large': CANARY.repeat(1_024) };
      await expectRefusal(system, () => send({ target: SECRET, headers }), broken('oversized_header', 431));
    });

    test('a malformed chunk of a body', async () => {
      const headers = {
        'Content-Type': 'application/json',
        'Transfer-Encoding': 'chunked',
        'Content-Length': undefined,
      };
      const sent = () => send({ method: 'PUT', target: SECRET, headers, body: `${CANARY}\r\n\r\n` });
      await expectRefusal(system, sent, broken('broken_request'));
    });

    test('endless garbage is answered and recorded once', async () => {
      const before = (await admin.auditEntries({ action: 'request.refuse' })).length;
      const { connect } = await import('node:net');
      const socket = connect(Number(new URL(system.url).port), '127.0.0.1').on('error', () => {});
      for (let i = 0; i < 20; i += 1) {
        socket.write(`${CANARY}\r\n\r\n`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await new Promise((resolve) => socket.on('close', resolve).resume());
      const after = await admin.auditEntries({ action: 'request.refuse' });
      expect(after.length - before).toBe(1);
    });

    test('an unknown expectation is ignored', async () => {
      const answer = await send({ target: SECRET, headers: { Expect: 'the-unexpected' } });
      expect(answer.status).toBe(200);
      expectHeaders(answer);
    });

    test('a client that disconnects in the middle of its body has written nothing, and is recorded', async () => {
      const whole = Buffer.from(
        toBytes({
          method: 'PUT',
          target: '/api/v1/vaults/payments/secrets/half',
          headers: { Authorization: `Bearer ${admin.token}`, 'Content-Type': 'application/json' },
          body: good,
        }),
      );
      const { connect } = await import('node:net');
      const socket = connect(Number(new URL(system.url).port), '127.0.0.1');
      socket.write(whole.subarray(0, -3), () => setTimeout(() => socket.destroy(), 50));
      await new Promise((resolve) => socket.on('close', resolve));
      await admin.get('/vaults/payments/secrets/half').expect(404);
      await expectEventually(async () => {
        const [entry] = await admin.auditEntries({ action: 'secret.write', decision: 'deny' });
        expect(entry?.event).toMatchObject({ reason: 'invalid_request', resource: { name: 'half' } });
      });
    });
  });
});

/** Sends as admin, so that only the input can be the reason of a refusal. */
function send({ headers, ...request }: RawRequest): Promise<RawAnswer> {
  return sendRequest(system.url, { ...request, headers: { Authorization: `Bearer ${admin.token}`, ...headers } });
}

function put(body: string | Uint8Array, headers: RawRequest['headers'] = {}): Promise<RawAnswer> {
  return send({ method: 'PUT', target: SECRET, body, headers: { 'Content-Type': 'application/json', ...headers } });
}

function toValue(value: string, encoding?: string): string {
  return JSON.stringify({ value, encoding });
}

function withToken(): string {
  return `Host: x\r\nAuthorization: Bearer ${admin.token}\r\nConnection: close\r\n`;
}
