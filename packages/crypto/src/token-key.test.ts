import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { hmacKey } from './token-key.ts';

describe('the key of a token', () => {
  test('is a secret key object with the given bytes', () => {
    const bytes = new Uint8Array(32).fill(7);
    const key = hmacKey(bytes);
    expect(key.type).toBe('secret');
    expect(createHmac('sha256', key).update('a').digest('hex')).toBe(
      createHmac('sha256', bytes).update('a').digest('hex'),
    );
  });

  test('has at least as many bytes as the hash', () => {
    expect(() => hmacKey(new Uint8Array(31))).toThrow(RangeError);
  });
});
