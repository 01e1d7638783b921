import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { toHex } from '../encoding.ts';
import { agreeOn, decapsulateWith, encapsulateFor, readPublicKey } from './key-agreement.ts';
import { generateKeyMaterial, readKeyMaterial } from './key-material.ts';

const x25519 = (hex: string) =>
  createPrivateKey({ key: Buffer.from(hex, 'hex'), format: 'raw-private', asymmetricKeyType: 'x25519' });
const x25519Public = (hex: string) =>
  createPublicKey({ key: Buffer.from(hex, 'hex'), format: 'raw-public', asymmetricKeyType: 'x25519' });
const p256 = (hex: string) =>
  createPrivateKey({
    key: Buffer.from(hex, 'hex'),
    format: 'raw-private',
    asymmetricKeyType: 'ec',
    namedCurve: 'prime256v1',
  });
const pemOf = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' });

const pair = async (algorithm: 'x25519' | 'ecdh-p256' | 'ed25519' | 'ecdsa-p384') =>
  readKeyMaterial(algorithm, await generateKeyMaterial(algorithm));

test('X25519 agrees on the secret of RFC 7748 section 6.1', async () => {
  const alice = x25519('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a');
  const bob = x25519('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb');
  const [alicePublic, bobPublic] = [createPublicKey(alice), createPublicKey(bob)];
  expect(toHex(alicePublic.export({ format: 'raw-public' }))).toBe(
    '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
  );
  const secret = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
  expect(toHex((await agreeOn(alice, bobPublic))!)).toBe(secret);
  expect(toHex((await agreeOn(bob, alicePublic))!)).toBe(secret);
});

test('ECDH over P-256 agrees on the secret of RFC 5903 section 8.1', async () => {
  const one = p256('c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433');
  const other = p256('c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53');
  const secret = 'd6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de';
  expect(toHex((await agreeOn(one, createPublicKey(other)))!)).toBe(secret);
  expect(toHex((await agreeOn(other, createPublicKey(one)))!)).toBe(secret);
});

test('there is no secret with a point of small order', async () => {
  const { key } = readKeyMaterial('x25519', await generateKeyMaterial('x25519'));
  // 0, 1 and the two points of order 8, as in the text of curve25519 by D. J. Bernstein.
  for (const point of [
    '00'.repeat(32),
    `01${'00'.repeat(31)}`,
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  ]) {
    expect(await agreeOn(key, x25519Public(point))).toBeUndefined();
  }
});

test('a public key is read if it is of the algorithm, and a private one never', async () => {
  const [x, p, ed, p384] = [
    await pair('x25519'),
    await pair('ecdh-p256'),
    await pair('ed25519'),
    await pair('ecdsa-p384'),
  ];
  expect(readPublicKey('x25519', pemOf(x.publicKey!))?.equals(x.publicKey!)).toBe(true);
  expect(readPublicKey('ecdh-p256', pemOf(p.publicKey!))?.equals(p.publicKey!)).toBe(true);
  for (const { publicKey } of [p, ed]) expect(readPublicKey('x25519', pemOf(publicKey!))).toBeUndefined();
  for (const { publicKey } of [x, p384]) expect(readPublicKey('ecdh-p256', pemOf(publicKey!))).toBeUndefined();
  expect(readPublicKey('x25519', x.key.export({ type: 'pkcs8', format: 'pem' }))).toBeUndefined();
  expect(readPublicKey('x25519', 'none')).toBeUndefined();
  // The point (x, y) with another y is not on the curve.
  const der = p.publicKey!.export({ type: 'spki', format: 'der' });
  der[der.length - 1]! ^= 1;
  const pem = `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`;
  expect(readPublicKey('ecdh-p256', pem)).toBeUndefined();
});

test('ML-KEM carries a secret to one key, and another ciphertext carries another secret', async () => {
  const { key, publicKey } = readKeyMaterial('ml-kem-768', await generateKeyMaterial('ml-kem-768'));
  const other = readKeyMaterial('ml-kem-768', await generateKeyMaterial('ml-kem-768'));
  const { secret, ciphertext } = await encapsulateFor(publicKey!);
  expect([secret.length, ciphertext.length]).toEqual([32, 1088]);
  expect(await decapsulateWith(key, ciphertext)).toEqual(secret);
  expect(await decapsulateWith(other.key, ciphertext)).not.toEqual(secret);
  expect(await decapsulateWith(key, ciphertext.subarray(1))).toBeUndefined();
  ciphertext[0]! ^= 1;
  const changed = (await decapsulateWith(key, ciphertext))!;
  expect([changed.length, toHex(changed) === toHex(secret)]).toEqual([32, false]);
});
