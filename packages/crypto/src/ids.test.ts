import { describe, expect, test } from '@jest/globals';
import { constantTimeEqual, randomKey, randomSecret, sha256, sha256Hex, uuidv7 } from './ids.ts';

const timeOf = (id: string) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);

describe('a UUIDv7', () => {
  test('has the layout of RFC 9562 and the given time', () => {
    const id = uuidv7(0x017f22e279b0);
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(timeOf(id)).toBe(0x017f22e279b0);
  });

  test('is greater than all before it, even if its counter overflows within a millisecond', () => {
    const ids = Array.from({ length: 20_000 }, () => uuidv7(1_790_000_000_000));
    expect(ids.every((id, i) => i === 0 || id > ids[i - 1]!)).toBe(true);
    expect(timeOf(ids.at(-1)!) - 1_790_000_000_000).toBeLessThanOrEqual(10);
  });

  test('is greater than all before it, even after the clock stepped back', () => {
    const before = uuidv7(1_800_000_000_000);
    expect(uuidv7(1_700_000_000_000) > before).toBe(true);
  });

  test.each([-1, 1.5, 2 ** 48, Number.NaN])('refuses the time %p', (nowMs) => {
    expect(() => uuidv7(nowMs)).toThrow(RangeError);
  });
});

describe('random bytes', () => {
  test('have the requested length and never repeat', () => {
    expect(randomSecret(32)).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(randomSecret(32)).not.toBe(randomSecret(32));
    expect(randomKey()).toHaveLength(32);
    expect(randomKey()).not.toEqual(randomKey());
  });

  test('of a key have their own memory, so overwriting them changes nothing else', () => {
    expect(randomKey().buffer.byteLength).toBe(32);
  });
});

describe('SHA-256', () => {
  test('is that of FIPS 180-4, for text and for bytes', () => {
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    expect(sha256Hex('abc')).toBe(abc);
    expect(sha256Hex(new TextEncoder().encode('abc'))).toBe(abc);
    expect(Buffer.from(sha256('abc')).toString('hex')).toBe(abc);
  });
});

describe('a comparison in constant time', () => {
  test('distinguishes bytes and lengths', () => {
    expect(constantTimeEqual(sha256('a'), sha256('a'))).toBe(true);
    expect(constantTimeEqual(sha256('a'), sha256('b'))).toBe(false);
    expect(constantTimeEqual(sha256('a'), sha256('a').subarray(1))).toBe(false);
  });
});
