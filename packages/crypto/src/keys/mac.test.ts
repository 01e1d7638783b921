import { createSecretKey } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { toHex } from '../encoding.ts';
import { isMacOf, macOf } from './mac.ts';

// RFC 4231 section 4.3.
const key = createSecretKey(Buffer.from('Jefe'));
const message = Buffer.from('what do ya want for nothing?');

test.each([
  ['hmac-sha256', '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
  ['hmac-sha384', 'af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649'],
  [
    'hmac-sha512',
    '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737',
  ],
] as const)('%s gives the MAC of RFC 4231, and takes no part of it', (algorithm, hex) => {
  const mac = macOf({ algorithm, key }, message);
  expect(toHex(mac)).toBe(hex);
  expect(isMacOf({ algorithm, key }, message, mac)).toBe(true);
  expect(isMacOf({ algorithm, key }, message, mac.subarray(0, -1))).toBe(false);
  expect(isMacOf({ algorithm, key }, message, new Uint8Array(0))).toBe(false);
  expect(isMacOf({ algorithm, key }, Buffer.from('what'), mac)).toBe(false);
});
