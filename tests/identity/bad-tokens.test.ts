import { inEachProfile } from '@cardea/testkit/use-system';
import { sendRequest } from '@cardea/testkit/raw-http';
import type { RawAnswer } from '@cardea/testkit/raw-http';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { CANARY, expectRefusal } from '../access/refusals.ts';
import { anyJwk, anyKey, createForger } from './forged-tokens.ts';
import type { Forger } from './forged-tokens.ts';

const SECRET = '/api/v1/vaults/payments/secrets/db/password';
const UNKNOWN_KEY = '01890000-0000-7000-8000-000000000000';
const bearer = (token: string) => `Bearer ${token}`;

inEachProfile(
  (system) => {
    let token: string;
    let forger: Forger;

    beforeAll(async () => {
      const admin = await system.as('admin');
      await admin.createVault('payments');
      await admin.putSecret('payments', 'db/password', CANARY);
      token = admin.token;
      forger = await createForger(system, token);
    });

    const nowSeconds = () => Math.floor(system.now().getTime() / 1000);

    // The second way bypasses the handler in front of Express.
    const ways: [string, (authorization?: string) => Promise<RawAnswer>][] = [
      ['reading', (authorization) => ask('GET', SECRET, { Authorization: authorization })],
      [
        'writing',
        (authorization) =>
          ask(
            'PUT',
            SECRET,
            { Authorization: authorization, 'Content-Type': 'application/json' },
            '{"value":"forged"}',
          ),
      ],
    ];

    // Each from its own address, because repeated refusals of one address within a second share a record.
    let asked = 0;
    function ask(method: string, target: string, headers: Record<string, string | undefined>, body = '') {
      const address = `198.18.${(asked += 1) >> 8}.${asked & 255}`;
      return sendRequest(system.url, { method, target, headers: { 'X-Forwarded-For': address, ...headers }, body });
    }

    test.each([
      ['the good one first', [bearerOf('good'), bearerOf('bad')]],
      ['the good one last', [bearerOf('bad'), bearerOf('good')]],
      ['the same twice', [bearerOf('good'), bearerOf('good')]],
    ])('two Authorization headers are refused, %s: a proxy may read the other one', async (_which, [first, second]) => {
      const sent = () => ask('GET', SECRET, { Authorization: first!(), authorization: second!() });
      // The token is known as good, so that the hot path is tried.
      expect((await ask('GET', SECRET, { Authorization: bearer(token) })).status).toBe(200);
      const event = { action: 'secret.read', suspicious: 'token_malformed' };
      await expectRefusal(system, sent, { status: 401, code: 'unauthenticated', event });
    });

    function bearerOf(which: 'good' | 'bad'): () => string {
      return () => bearer(which === 'good' ? token : CANARY);
    }

    describe.each(ways)('when %s', (_way, send) => {
      test('a token made with the real key and real claims is accepted', async () => {
        expect((await send(bearer(forger.sign({})))).status).toBeLessThan(202);
        expect((await send(bearer(token))).status).toBeLessThan(202);
      });

      const refused: [string, () => string | undefined, { rule?: string; suspicious?: string }][] = [
        ['no token', () => undefined, { rule: 'no-token' }],
        ['an empty header', () => '', {}],
        ['another scheme', () => `Basic ${Buffer.from(`admin:${CANARY}`).toString('base64')}`, {}],
        ['Bearer and no token', () => 'Bearer ', { suspicious: 'token_malformed' }],
        ['two tokens', () => `Bearer ${token} ${token}`, { suspicious: 'token_malformed' }],
        ['a text that is not a token', () => bearer(CANARY), { suspicious: 'token_malformed' }],
        ['two parts', () => bearer(token.split('.').slice(0, 2).join('.')), { suspicious: 'token_malformed' }],
        ['four parts', () => bearer(`${token}.x`), { suspicious: 'token_malformed' }],
        ['a header that is not JSON', () => bearer(`${CANARY}.${CANARY}.x`), { suspicious: 'token_malformed' }],
        ['a signature cut off', () => bearer(`${token.split('.').slice(0, 2).join('.')}.`), {}],
        ['one letter changed', () => bearer(flipLetter(token)), {}],
        ['5 KiB', () => bearer(`${token}${'A'.repeat(5_120)}`), { suspicious: 'token_too_long' }],
        [
          'an expired token',
          () => bearer(forger.sign({ claims: { ...forger.claims, exp: nowSeconds() - 1 } })),
          { rule: 'token-expired' },
        ],
        ['a token without an expiry', () => bearer(forger.sign({ claims: { ...forger.claims, exp: undefined } })), {}],
        ['no algorithm', () => bearer(forger.unsigned({ header: { ...forger.header, alg: 'none' } })), {}],
        [
          'no algorithm, oddly spelled',
          () => bearer(forger.unsigned({ header: { ...forger.header, alg: 'nOnE' } })),
          {},
        ],
        ['no algorithm, yet signed', () => bearer(forger.sign({ header: { ...forger.header, alg: 'none' } })), {}],
        ['another algorithm', () => bearer(forger.sign({ header: { ...forger.header, alg: 'HS512' } })), {}],
        ['RS256', () => bearer(forger.signAsymmetric({ header: { ...forger.header, alg: 'RS256' } })), {}],
        [
          'RS256 in the header, but an HMAC signature',
          () => bearer(forger.sign({ header: { ...forger.header, alg: 'RS256' } })),
          {},
        ],
        ['another key', () => bearer(forger.signWith(anyKey)), { suspicious: 'token_forged' }],
        ['an empty key', () => bearer(forger.signWith('')), { suspicious: 'token_forged' }],
        [
          'its kid as the key',
          () => bearer(forger.signWith(String(forger.header['kid']))),
          { suspicious: 'token_forged' },
        ],
        [
          'an unknown kid',
          () => bearer(forger.sign({ header: { ...forger.header, kid: UNKNOWN_KEY } })),
          { suspicious: 'token_unknown_key' },
        ],
        [
          'a kid that is a path',
          () => bearer(forger.sign({ header: { ...forger.header, kid: '../../dev/null' } })),
          {},
        ],
        ['no kid', () => bearer(forger.sign({ header: { ...forger.header, kid: undefined } })), {}],
        [
          'a key in its header',
          () => bearer(forger.signWith(anyKey, { header: { ...forger.header, jwk: anyJwk } })),
          {},
        ],
        ['a key at a URL', () => bearer(forger.sign({ header: { ...forger.header, jku: 'http://127.0.0.1/' } })), {}],
        ['a certificate', () => bearer(forger.sign({ header: { ...forger.header, x5c: ['AAAA'] } })), {}],
        ['a critical extension', () => bearer(forger.sign({ header: { ...forger.header, crit: ['b64'] } })), {}],
        ['another issuer', () => bearer(forger.sign({ claims: { ...forger.claims, iss: CANARY } })), {}],
        ['another audience', () => bearer(forger.sign({ claims: { ...forger.claims, aud: CANARY } })), {}],
        [
          'several audiences',
          () => bearer(forger.sign({ claims: { ...forger.claims, aud: [CANARY, 'cardea-api'] } })),
          {},
        ],
        ['another type', () => bearer(forger.sign({ header: { ...forger.header, typ: 'JWT' } })), {}],
        ['no type', () => bearer(forger.sign({ header: { ...forger.header, typ: undefined } })), {}],
        ['an extra claim', () => bearer(forger.sign({ claims: { ...forger.claims, role: 'admin' } })), {}],
        [
          'a session that never existed',
          () => bearer(forger.sign({ claims: { ...forger.claims, sid: UNKNOWN_KEY } })),
          {},
        ],
      ];

      test.each(refused)('%s is refused', async (_what, authorization, event) => {
        const answer = await expectRefusal(system, () => send(authorization()), {
          status: 401,
          code: 'unauthenticated',
          event: {
            action: expect.stringMatching(/^secret\.(read|write)$/) as never,
            actor: { id: 'anonymous', type: 'anonymous' },
            rule: expect.any(String) as never,
            resource: { vault: 'payments', name: 'db/password' },
            ...event,
          },
        });
        expect(answer.headers['www-authenticate']).toBe('Bearer');
        expect(answer.body).not.toContain(token.slice(0, 40));
      });
    });

    describe('every route', () => {
      test('asks for a token, unless its contract says otherwise', async () => {
        const protectedRoutes = system.endpoints.filter((endpoint) => endpoint.auth !== 'none');
        expect(protectedRoutes.length).toBeGreaterThan(8);
        for (const { method, path, action } of protectedRoutes) {
          const target = path.replaceAll(/\{[+*]?\w+\}/g, 'x');
          await expectRefusal(system, () => ask(method, target, {}), {
            status: 401,
            code: 'unauthenticated',
            event: { action, rule: 'no-token' },
          });
        }
      });

      const elsewhere =
        '/api/v2/vaults /api/v1/openapi.yaml /api/v1/status/x /v1/wrap /v1/unwrap /v1/seal /v1/append /v1/entries ' +
        '/v1/checkpoint /metrics /readyz /livez /debug/pprof /.env /.git/config /healthz/ /HEALTHZ /API/v1/vaults ' +
        '/api/v1/Vaults /server-status /favicon.ico /robots.txt';

      test.each(elsewhere.split(' '))(
        'does not exist beyond the contract: %s is not found, for any caller',
        async (target) => {
          for (const method of ['GET', 'POST']) {
            for (const headers of [{}, { Authorization: bearer(token) }]) {
              expect([method, (await ask(method, target, headers)).status]).toEqual([method, 404]);
            }
          }
        },
      );
    });
  },
  { CARDEA_TRUSTED_PROXIES: '1' },
);

// Only some bits of the last character of a signature count.
function flipLetter(token: string): string {
  const at = token.length - 10;
  return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
}
