import { beforeAll, describe, expect, test } from '@jest/globals';
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

// RFC 5649 section 6 has keys of 192 bits only: those are in wycheproof_aes_kwp.json too. Here the key has 256 bits.
test('AES-KWP unwraps with its own key only', () => {
  const aesKey = Buffer.alloc(32, 7);
  for (const length of [1, 7, 8, 9, 64]) {
    const key = new Uint8Array(length).fill(length);
    const wrapped = sealKwp(aesKey, key);
    expect(openKwp(aesKey, wrapped)).toEqual(key);
    expect(openKwp(Buffer.alloc(32, 8), wrapped)).toBeUndefined();
  }
});
