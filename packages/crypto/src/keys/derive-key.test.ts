import { createHmac, createSecretKey } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../encoding.ts';
import { deriveKey, hkdfSha256 } from './derive-key.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';

const octets = (from: number, to: number) => Uint8Array.from({ length: to - from + 1 }, (_, i) => from + i);
const names = Object.keys(keyAlgorithms) as KeyAlgorithm[];
const symmetric = names.filter((name) => 'keyBytes' in keyAlgorithms[name]);

describe('HKDF-SHA256 gives the key of RFC 5869', () => {
  test.each([
    {
      appendix: 'A.1',
      key: new Uint8Array(22).fill(0x0b),
      salt: octets(0x00, 0x0c),
      info: octets(0xf0, 0xf9),
      okm: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    },
    {
      appendix: 'A.2',
      key: octets(0x00, 0x4f),
      salt: octets(0x60, 0xaf),
      info: octets(0xb0, 0xff),
      okm:
        'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09' +
        'da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
    },
    {
      appendix: 'A.3',
      key: new Uint8Array(22).fill(0x0b),
      salt: new Uint8Array(0),
      info: new Uint8Array(0),
      okm: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
    },
  ])('appendix $appendix', ({ key, salt, info, okm }) => {
    const bytes = okm.length / 2;
    expect(toHex(hkdfSha256(createSecretKey(key), { salt, info, bytes }))).toBe(okm);
  });
});

test.each(symmetric)('a key of %s derives what RFC 5869 section 2 says, and another for each context', (algorithm) => {
  const spec = keyAlgorithms[algorithm] as { keyBytes: number };
  const key = fromHex('5a'.repeat(spec.keyBytes));
  const derived = (context: string) => {
    const material = deriveKey({ algorithm, key: createSecretKey(key) }, Buffer.from(context));
    expect(material.algorithm).toBe(algorithm);
    return toHex(material.key.export());
  };
  expect(derived('customer 7')).toBe(toHex(expanded(key, 'customer 7', spec.keyBytes)));
  expect(new Set(['customer 7', 'customer 8', 'customer 7\0', 'c'].map(derived)).size).toBe(4);
});

test.each(names.filter((name) => !symmetric.includes(name)))('a key of %s derives none', (algorithm) => {
  const key = createSecretKey(Buffer.alloc(32));
  expect(() => deriveKey({ algorithm, key }, Buffer.from('c'))).toThrow('derives no keys');
});

const hmac = (secret: Uint8Array, ...parts: (Uint8Array | string)[]) =>
  parts.reduce((mac, part) => mac.update(part), createHmac('sha256', secret)).digest();

/** Extract and expand, by HMAC alone. */
function expanded(key: Uint8Array, info: string, bytes: number): Uint8Array {
  const extracted = hmac(new Uint8Array(32), key);
  const first = hmac(extracted, info, Uint8Array.of(1));
  return Buffer.concat([first, hmac(extracted, first, info, Uint8Array.of(2))]).subarray(0, bytes);
}
