import { expect, test } from '@jest/globals';
import { formatAddress, parseAddress, parsePlace } from './address.ts';
import { bytesOf, fromBase64, toBase64, toValue } from './bytes.ts';

test.each([
  ['payments/db/password', { vault: 'payments', name: 'db/password' }],
  ['payments/db/password@3', { vault: 'payments', name: 'db/password', version: 3 }],
  ['a/b', { vault: 'a', name: 'b' }],
  ['a/.b/..c', { vault: 'a', name: '.b/..c' }],
])('%s is an address, and is written as it was read', (text, address) => {
  expect(parseAddress(text)).toEqual(address);
  expect(formatAddress(address)).toBe(text);
});

test.each([
  '',
  'a',
  'a/',
  '/b',
  'a//b',
  'A/b',
  'a/b/',
  'a/../b',
  'a/.',
  'a/b@0',
  'a/b@x',
  'a/b@',
  'a/b c',
  'a/b:purge',
])('"%s" is not an address', (text) => {
  expect(() => parseAddress(text)).toThrow('is not an address');
});

test('a place is a vault, or a vault and the beginning of names', () => {
  expect(parsePlace('payments')).toEqual({ vault: 'payments' });
  expect(parsePlace('payments/')).toEqual({ vault: 'payments' });
  expect(parsePlace('payments/db/')).toEqual({ vault: 'payments', prefix: 'db/' });
  expect(() => parsePlace('/db')).toThrow('is not a vault');
});

test('bytes keep their value on the way through base64', () => {
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
  expect(fromBase64(toBase64(bytes))).toEqual(bytes);
  expect(bytesOf(toValue(bytes))).toEqual(bytes);
  expect(bytesOf(toValue('é'))).toEqual(Uint8Array.of(0xc3, 0xa9));
});
