import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { inEachProfile } from '@cardea/testkit/use-system';
import { beforeAll, expect, test } from '@jest/globals';
import { CompactSign, compactVerify, importJWK } from 'jose';
import { recordsOf } from '../identity/identity.ts';
import { at, base64, keyTrail, makeKey } from './ground.ts';

const VAULT = 'tokens';
const ALGS: [string, string[]][] = [
  ['rsa-2048', ['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512']],
  ['ecdsa-p256', ['ES256']],
  ['ecdsa-p384', ['ES384']],
  ['ecdsa-p521', ['ES512']],
  ['ed25519', ['EdDSA', 'Ed25519']],
  ['ml-dsa-65', ['ML-DSA-65']],
];

inEachProfile((system, { alice }) => {
  const verdictOn = async (name: string, jws: string) =>
    (await alice.post(`${at(VAULT, name)}:verifyJws`, { jws }).expect(200)).body.valid as boolean;

  beforeAll(async () => {
    await alice.createVault(VAULT);
    for (const [name] of [...ALGS, ['hmac-sha512'], ['x25519']] as [string][]) await makeKey(alice, VAULT, name, name);
  });

  test.each(ALGS)('jose takes what %s signs', async (name, algs) => {
    const { body } = await alice.get(at(VAULT, name)).expect(200);
    const payloadBase64 = base64('{"sub":"alice"}');
    for (const alg of algs) {
      const given = { payloadBase64, protectedHeader: { typ: 'JWT', alg } };
      const signed = await alice.post(`${at(VAULT, name)}:signJws`, given).expect(200);
      const { jws } = signed.body as { jws: string };
      const opened = await compactVerify(jws, await importJWK(body.publicKeyJwk as object, alg));
      expect(opened.protectedHeader).toEqual({ typ: 'JWT', alg, kid: `${name}:v1` });
      expect(Buffer.from(opened.payload).toString('base64')).toBe(payloadBase64);
      expect(await verdictOn(name, jws)).toBe(true);
      expect(await recordsOf(system, signed)).toMatchObject([
        { action: 'key.signJws', decision: 'allow', resource: { name, keyVersion: 1 } },
      ]);
    }
    const plain = await alice.post(`${at(VAULT, name)}:signJws`, { payloadBase64 }).expect(200);
    expect(JSON.parse(partOf(plain.body.jws as string, 0))).toEqual({ alg: algs[0], kid: `${name}:v1` });
  });

  test.each(ALGS)('a key of %s takes what jose signs', async (algorithm, algs) => {
    const { privateKey, publicKey } = pairOf(algorithm);
    const name = `of-jose-${algorithm}`;
    const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' });
    await alice.post(`${at(VAULT, name)}:import`, { algorithm, publicKeyPem }).expect(201);
    for (const alg of algs) {
      const signed = (kid: string) =>
        new CompactSign(Buffer.from('{"sub":"alice"}')).setProtectedHeader({ alg, kid }).sign(privateKey);
      expect([alg, await verdictOn(name, await signed(`${name}:v1`))]).toEqual([alg, true]);
      expect([alg, await verdictOn(name, await signed(`${name}:v2`))]).toEqual([alg, false]);
    }
  });

  test('a JWS holds for its key, version and text only, and while the version may verify', async () => {
    const [name, path] = ['hmac-sha512', at(VAULT, 'hmac-sha512')];
    const payloadBase64 = base64('paid');
    const { body } = await alice.post(`${path}:signJws`, { payloadBase64 }).expect(200);
    const { jws } = body as { jws: string };
    await alice.post(`${path}:rotate`).expect(200);
    const next = (await alice.post(`${path}:signJws`, { payloadBase64 }).expect(200)).body as { jws: string };
    const [head, payload, mac] = jws.split('.') as [string, string, string];
    const headed = (header: object) => `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}.${mac}`;
    expect(await Promise.all([jws, next.jws].map((each) => verdictOn(name, each)))).toEqual([true, true]);
    const wrong = [
      `${head}.${Buffer.from('owed').toString('base64url')}.${mac}`,
      `${head}.${payload}.`,
      `${head}.${payload}.${next.jws.split('.')[2]}`,
      `${next.jws.split('.')[0]}.${payload}.${mac}`,
      headed({ alg: 'none', kid: `${name}:v1` }),
      headed({ alg: 'HS256', kid: `${name}:v1` }),
      headed({ alg: 'HS512' }),
      headed({ alg: 'HS512', kid: `${name}:v9` }),
      'none',
    ];
    for (const each of wrong) expect([each, await verdictOn(name, each)]).toEqual([each, false]);
    expect(await verdictOn('ed25519', jws)).toBe(false);
    await alice.patch(`${path}/versions/1`, { state: 'disabled' }).expect(200);
    expect(await verdictOn(name, jws)).toBe(false);
    const trail = await keyTrail(system, VAULT, 'key.verifyJws');
    expect(trail.slice(-3)).toEqual([
      `key.verifyJws ${name} grant:owner`,
      'key.verifyJws ed25519 grant:owner',
      `key.verifyJws ${name} grant:owner`,
    ]);
  });

  test('a header that does not fit the key is refused and recorded', async () => {
    const refused: [string, object, number, string][] = [
      ['ed25519', { alg: 'ES256' }, 409, 'key-algorithm'],
      ['ecdsa-p256', { alg: 'none' }, 409, 'key-algorithm'],
      ['ecdsa-p256', { alg: 7 }, 409, 'key-algorithm'],
      ['x25519', {}, 409, 'key-algorithm'],
      ['ecdsa-p256', { kid: 'ecdsa-p256:v2' }, 400, 'jws-header'],
      ['ecdsa-p256', { crit: ['b64'], b64: false }, 400, 'jws-header'],
    ];
    for (const [name, protectedHeader, status, rule] of refused) {
      const answer = await alice.post(`${at(VAULT, name)}:signJws`, { payloadBase64: 'AAAA', protectedHeader });
      expect([name, protectedHeader, answer.status]).toEqual([name, protectedHeader, status]);
      expect(await recordsOf(system, answer)).toMatchObject([{ action: 'key.signJws', decision: 'deny', rule }]);
    }
    const long = { x: 'x'.repeat(8_192) };
    await alice.post(`${at(VAULT, 'ed25519')}:signJws`, { payloadBase64: 'AAAA', protectedHeader: long }).expect(400);
    await alice.post(`${at(VAULT, 'ed25519')}:signJws`, { payloadBase64: 'AAAA', protectedHeader: [] }).expect(400);
    await alice.post(`${at(VAULT, 'x25519')}:verifyJws`, { jws: 'none' }).expect(409);
  });
});

function partOf(jws: string, index: number): string {
  return Buffer.from(jws.split('.')[index]!, 'base64url').toString();
}

function pairOf(algorithm: string): { privateKey: KeyObject; publicKey: KeyObject } {
  const namedCurve = { 'ecdsa-p256': 'P-256', 'ecdsa-p384': 'P-384', 'ecdsa-p521': 'P-521' }[algorithm];
  if (namedCurve !== undefined) return generateKeyPairSync('ec', { namedCurve });
  if (algorithm === 'rsa-2048') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  return algorithm === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ml-dsa-65');
}
