import { createDecipheriv } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../encoding.ts';
import { generateKeyMaterial, readKeyMaterial } from './key-material.ts';
import type { KeyMaterial } from './key-material.ts';
import { sealOaep } from './rsa-oaep.ts';
import { WRAPPED_KEY_BYTES_MAX, openKwp, sealKwp, unwrapKey, wrapKey } from './key-wrap.ts';

let pair: KeyMaterial;
let other: KeyMaterial;

beforeAll(async () => {
  pair = readKeyMaterial('rsa-2048', await generateKeyMaterial('rsa-2048'));
  other = readKeyMaterial('rsa-2048', await generateKeyMaterial('rsa-2048'));
});

describe('a wrapped key', () => {
  test.each([1, 16, 20, 32, 2_400])('of %d bytes unwraps with its own key only', async (bytes) => {
    const key = Uint8Array.from({ length: bytes }, (_, index) => index % 251);
    const wrapped = await wrapKey(pair.publicKey!, key);
    expect(wrapped).toHaveLength(256 + Math.ceil(bytes / 8) * 8 + 8);
    expect(await unwrapKey(pair.key, wrapped)).toEqual(key);
    expect(await unwrapKey(other.key, wrapped)).toBeUndefined();
  });

  test('that was changed or cut anywhere does not unwrap', async () => {
    const wrapped = await wrapKey(pair.publicKey!, new Uint8Array(32));
    for (const at of [0, 255, 256, 263, 264, wrapped.length - 1]) {
      const changed = Uint8Array.from(wrapped);
      changed[at]! ^= 1;
      expect([at, await unwrapKey(pair.key, changed)]).toEqual([at, undefined]);
    }
    for (const length of [0, 1, 255, 256, 257, 264, 272, wrapped.length - 8, wrapped.length - 1]) {
      expect([length, await unwrapKey(pair.key, wrapped.subarray(0, length))]).toEqual([length, undefined]);
    }
    const long = new Uint8Array(WRAPPED_KEY_BYTES_MAX + 8);
    long.set(wrapped);
    expect(await unwrapKey(pair.key, long)).toBeUndefined();
  });

  test('under an AES key of another length does not unwrap', async () => {
    const wrapped = Buffer.concat([
      await sealOaep(pair.publicKey!, new Uint8Array(16), new Uint8Array(0)),
      new Uint8Array(40),
    ]);
    expect(await unwrapKey(pair.key, wrapped)).toBeUndefined();
  });
});

test('AES-KWP unwraps with its own key only', () => {
  const aesKey = Buffer.alloc(32, 7);
  for (const length of [1, 7, 8, 9, 64]) {
    const key = new Uint8Array(length).fill(length);
    const wrapped = sealKwp(aesKey, key);
    expect(openKwp(aesKey, wrapped)).toEqual(key);
    expect(openKwp(Buffer.alloc(32, 8), wrapped)).toBeUndefined();
  }
});

test.each([
  [
    '20',
    'c37b7e6492584340bed12207808941155068f738',
    '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a',
  ],
  ['7', '466f7250617369', 'afbeb0f07dfbf5419200f2ccb50bb24f'],
])('AES-KWP wraps the key of %s bytes as RFC 5649 section 6 does', (_bytes, key, wrapped) => {
  const aesKey = fromHex('5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8');
  expect(toHex(sealKwp(aesKey, fromHex(key)))).toBe(wrapped);
  expect(toHex(openKwp(aesKey, fromHex(wrapped))!)).toBe(key);
});

// The examples of RFC 3394 section 4: AES-KW, of which AES-KWP is the kind that says how long the key is.
const KEK = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';
const DATA = '00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f';

test.each([
  ['4.1', 16, 16, '1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5'],
  ['4.2', 24, 16, '96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d'],
  ['4.3', 32, 16, '64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7'],
  ['4.4', 24, 24, '031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2'],
  ['4.5', 32, 24, 'a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1'],
  ['4.6', 32, 32, '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21'],
])('what AES-KW has wrapped does not unwrap as AES-KWP: RFC 3394 section %s', (_section, kekBytes, bytes, wrapped) => {
  const [aesKey, key] = [fromHex(KEK.slice(0, 2 * kekBytes)), DATA.slice(0, 2 * bytes)];
  const kw = createDecipheriv(`id-aes${kekBytes * 8}-wrap`, aesKey, Buffer.alloc(8, 0xa6));
  expect(kw.update(wrapped, 'hex', 'hex') + kw.final('hex')).toBe(key);
  expect(openKwp(aesKey, fromHex(wrapped))).toBeUndefined();
  expect(openKwp(aesKey, sealKwp(aesKey, fromHex(key)))).toEqual(Uint8Array.from(fromHex(key)));
});
