import { createSecretKey } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { fromHex, toHex } from '../encoding.ts';
import { openAead, sealAead, sealAeadWithNonce } from './aead.ts';
import type { AeadAlgorithm } from './key-algorithms.ts';

const keyOf = (algorithm: AeadAlgorithm, hex: string) => ({ algorithm, key: createSecretKey(fromHex(hex)) });

test('ChaCha20-Poly1305 gives the ciphertext of RFC 8439 section 2.8.2', () => {
  const key = keyOf('chacha20-poly1305', '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f');
  const plaintext = Buffer.from(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
  );
  const nonce = fromHex('070000004041424344454647');
  const sealed = sealAeadWithNonce(key, nonce, plaintext, fromHex('50515253c0c1c2c3c4c5c6c7'));
  expect(toHex(sealed.subarray(12, 28))).toBe('d31a8d34648e60db7b86afbc53ef7ec2');
  expect(toHex(sealed.subarray(-16))).toBe('1ae10b594f09e26a7e902ecbd0600691');
});

describe('a sealed message', () => {
  const key = keyOf('aes-256-gcm', '07'.repeat(32));
  const orders = Buffer.from('orders');

  test('opens with its associated data, and has another nonce each time', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array(), (plaintext, associatedData) => {
        const sealed = sealAead(key, plaintext, associatedData);
        expect(toHex(openAead(key, sealed, associatedData)!)).toBe(toHex(plaintext));
        const again = sealAead(key, plaintext, associatedData);
        expect(toHex(again.subarray(0, 12))).not.toBe(toHex(sealed.subarray(0, 12)));
      }),
    );
  });

  test('has a nonce of its own, however many there are', () => {
    const sealed = Array.from({ length: 1_000 }, () => toHex(sealAead(key, orders, orders).subarray(0, 12)));
    expect(new Set(sealed).size).toBe(1_000);
  });

  test('does not open once a bit of it is flipped, or cut, with other associated data, or under another key', () => {
    const sealed = sealAead(key, Buffer.from('attack at dawn'), orders);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const flipped = Buffer.from(sealed);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect([bit, openAead(key, flipped, orders)]).toEqual([bit, undefined]);
    }
    for (let length = 0; length < sealed.length; length++) {
      expect([length, openAead(key, sealed.subarray(0, length), orders)]).toEqual([length, undefined]);
    }
    expect(openAead(key, sealed, new Uint8Array(0))).toBeUndefined();
    expect(openAead(keyOf('aes-256-gcm', '08'.repeat(32)), sealed, orders)).toBeUndefined();
    expect(openAead({ ...key, algorithm: 'chacha20-poly1305' }, sealed, orders)).toBeUndefined();
  });
});
