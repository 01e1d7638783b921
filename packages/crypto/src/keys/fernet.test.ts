import { createSecretKey } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { openFernet, sealFernet, sealFernetWithIv } from './fernet.ts';

// generate.json and verify.json of https://github.com/fernet/spec.
const secret = createSecretKey(Buffer.from('cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=', 'base64url'));
const madeAt = Date.parse('1985-10-26T01:20:00-07:00') / 1000;
const token = 'gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==';
const hello = Buffer.from('hello');
const opened = (given: string, nowSeconds: number, ttlSeconds?: number) => {
  const found = openFernet(secret, given, { nowSeconds, ttlSeconds });
  if (found && given === token) expect(found.madeAtSeconds).toBe(madeAt);
  return found && Buffer.from(found.plaintext).toString();
};

describe('a Fernet token', () => {
  test('is that of the specification, byte for byte', () => {
    const iv = Uint8Array.from({ length: 16 }, (_, i) => i);
    expect(sealFernetWithIv(secret, iv, hello, { nowSeconds: madeAt })).toBe(token);
    expect(opened(token, madeAt + 1, 60)).toBe('hello');
  });

  test('opens with its key, whatever its length', () => {
    for (const length of [0, 1, 15, 16, 17, 1000]) {
      const made = sealFernet(secret, Buffer.alloc(length, 'x'), { nowSeconds: madeAt });
      expect([length, opened(made, madeAt)]).toEqual([length, 'x'.repeat(length)]);
    }
    const other = createSecretKey(Buffer.alloc(32, 1));
    expect(openFernet(other, token, { nowSeconds: madeAt })).toBeUndefined();
  });

  test('has a time to live only if it is asked for, and then none of the future counts', () => {
    expect(opened(token, madeAt + 1_000_000)).toBe('hello');
    expect([opened(token, madeAt + 60, 60), opened(token, madeAt + 61, 60)]).toEqual(['hello', undefined]);
    expect([opened(token, madeAt - 60, 60), opened(token, madeAt - 61, 60)]).toEqual(['hello', undefined]);
  });

  // The cases of invalid.json, made from the token above.
  test.each([
    ['with a wrong MAC', (bytes: Buffer) => Buffer.concat([bytes.subarray(0, -1), Buffer.of(0)])],
    ['that is too short', (bytes: Buffer) => bytes.subarray(0, 56)],
    ['that is empty', () => Buffer.alloc(0)],
    ['whose body is no whole number of blocks', (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ['of another version', (bytes: Buffer) => Buffer.concat([Buffer.of(0x81), bytes.subarray(1)])],
    ['of another time', (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 8), Buffer.of(0), bytes.subarray(9)])],
    ['with another iv', (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 9), Buffer.of(9), bytes.subarray(10)])],
  ])('%s does not open', (_what, spoil) => {
    const bytes = spoil(Buffer.from(token, 'base64url'));
    const text = bytes.toString('base64url');
    expect(opened(text.padEnd(Math.ceil(text.length / 4) * 4, '='), madeAt)).toBeUndefined();
  });

  test.each([
    ['without its padding', token.slice(0, -2)],
    ['with a blank', token.replace('A', ' A')],
    ['in standard base64', token.replaceAll('_', '/')],
    ['with spare bits', token.replace('DA==', 'DB==')],
  ])('%s does not open', (_what, spelt) => {
    expect(opened(spelt, madeAt)).toBeUndefined();
  });
});
