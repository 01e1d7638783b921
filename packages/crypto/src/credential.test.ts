import { describe, expect, test } from '@jest/globals';
import {
  credentialHash,
  generateCredential,
  generateRefreshToken,
  isCredential,
  refreshSuccessor,
} from './credential.ts';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const credentials = Array.from({ length: 1000 }, generateCredential);
const digitsOf = (credential: string) => credential.slice('cardea_'.length, -'_123456'.length);
const valueOf = (digits: string) =>
  Array.from(digits, (digit) => BigInt(BASE62.indexOf(digit))).reduce((value, digit) => value * 62n + digit, 0n);

// A Python program made these: from bytes 0 to 31, from 32 zeros and from 32 times 255.
const vectors = [
  'cardea_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf_3vrH6X',
  'cardea_0000000000000000000000000000000000000000000_4btY9J',
  'cardea_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1_1T8EtN',
];

describe('a credential', () => {
  test.each(vectors)('is the same as from another program: %s', (credential) => {
    expect(isCredential(credential)).toBe(true);
  });

  test('has 57 characters that need no escaping, and a right checksum', () => {
    for (const credential of credentials) {
      expect(credential).toMatch(/^cardea_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
      expect(isCredential(credential)).toBe(true);
    }
    expect(new Set(credentials).size).toBe(credentials.length);
  });

  test('is a number of 256 bits: 1 in 50 of 43 free base62 digits would be greater', () => {
    const values = credentials.map((credential) => valueOf(digitsOf(credential)));
    expect(values.filter((value) => value >= 2n ** 256n)).toEqual([]);
    const withBit = (bit: bigint) => values.filter((value) => (value >> bit) & 1n).length;
    // Each of 256 bits is set in about 500 of 1,000, standard deviation 15.8. The limits are seven deviations away.
    for (let bit = 0n; bit < 256n; bit++) expect(Math.abs(withBit(bit) - 500)).toBeLessThan(111);
  });

  test('has every digit equally often, except in the first place', () => {
    const counts = new Map<string, number>();
    for (const digit of credentials.map((credential) => digitsOf(credential).slice(1)).join('')) {
      counts.set(digit, (counts.get(digit) ?? 0) + 1);
    }
    expect(counts.size).toBe(62);
    // 42,000 digits: 677 of each, standard deviation 26. The limits are six deviations away. Bytes modulo 62 would give
    // 820 of some digits.
    for (const count of counts.values()) expect(Math.abs(count - 677)).toBeLessThan(142);
  });

  test('is refused if any character is changed', () => {
    const [credential = ''] = vectors;
    const accepted = Array.from(credential, (own, at) =>
      Array.from(`${BASE62}_- \nä`)
        .filter((other) => other !== own)
        .map((other) => credential.slice(0, at) + other + credential.slice(at + 1))
        .filter(isCredential),
    );
    expect(accepted).toHaveLength(57);
    expect(accepted.flat()).toEqual([]);
  });

  test('is refused if two neighbours are swapped', () => {
    const [credential = ''] = vectors;
    for (let at = 0; at + 1 < credential.length; at++) {
      const [a = '', b = ''] = credential.slice(at, at + 2);
      const swapped = credential.slice(0, at) + b + a + credential.slice(at + 2);
      expect(isCredential(swapped)).toBe(a === b);
    }
  });

  test.each([
    '',
    'cardea_',
    ` ${vectors[0]}`,
    `${vectors[0]}\n`,
    `${vectors[0]}0`,
    vectors[0]!.slice(0, -1),
    vectors[0]!.toUpperCase(),
    vectors[0]!.replace('cardea_', 'cardea_0'),
    `cardea_${digitsOf(vectors[0]!)}_${vectors[1]!.slice(-6)}`,
  ])('is not %j', (text) => {
    expect(isCredential(text)).toBe(false);
  });

  test('is stored as its SHA-256', () => {
    expect(Buffer.from(credentialHash('abc')).toString('hex')).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    );
  });
});

describe('a refresh token', () => {
  const key = Uint8Array.from({ length: 32 }, (_, at) => at);

  test('has 256 bits and is always new', () => {
    expect(generateRefreshToken()).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(generateRefreshToken()).not.toBe(generateRefreshToken());
  });

  test('has one successor, the same as from another program', () => {
    expect(refreshSuccessor(key, 'token')).toBe('CjvL0ThqxVDP2P9RvoLux3tlBVtB447ZR4SljaxAqpk');
    expect(refreshSuccessor(key, 'token')).toBe(refreshSuccessor(key, 'token'));
  });

  test('has a different successor for each token and each key', () => {
    const successor = refreshSuccessor(key, 'token');
    expect(refreshSuccessor(key, 'token2')).not.toBe(successor);
    expect(refreshSuccessor(key.toReversed(), 'token')).not.toBe(successor);
  });

  test('has successors that are tokens too and never repeat', () => {
    const chain = [generateRefreshToken()];
    while (chain.length < 100) chain.push(refreshSuccessor(key, chain.at(-1)!));
    for (const token of chain) expect(token).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(new Set(chain).size).toBe(100);
  });

  test('needs a key of at least 32 bytes for its successor', () => {
    expect(() => refreshSuccessor(key.slice(1), 'token')).toThrow(RangeError);
  });
});
