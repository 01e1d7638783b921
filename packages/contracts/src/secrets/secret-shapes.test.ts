import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { z } from 'zod';
import { SECRET_BYTES_HIGHEST, byteLength, checkValue, valueFields } from './secret-shapes.ts';

const Value = z.strictObject(valueFields).superRefine(checkValue);
const isTaken = (value: string, encoding: 'utf8' | 'base64') => Value.safeParse({ value, encoding }).success;

test('a text has as many bytes as Buffer says', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.uint8Array(), (text, bytes) => {
      expect(byteLength(text, 'utf8')).toBe(Buffer.from(text).length);
      expect(byteLength(Buffer.from(bytes).toString('base64'), 'base64')).toBe(bytes.length);
    }),
    { numRuns: 500 },
  );
});

// Letters of one, two, three and four bytes, a value that is full with each, and bytes with each padding of base64.
test.each(['a', 'é', '€', '🗝'])('a value of %s is accepted up to its last byte, and no further', (letter) => {
  const width = Buffer.byteLength(letter);
  const full = letter.repeat(Math.floor(SECRET_BYTES_HIGHEST / width)) + 'a'.repeat(SECRET_BYTES_HIGHEST % width);
  expect([isTaken(full, 'utf8'), isTaken(`${full}a`, 'utf8')]).toEqual([true, false]);
});

test.each([-2, -1, 0, 1, 2, 3])('decoded bytes count: %i more than the limit', (more) => {
  const base64 = Buffer.alloc(SECRET_BYTES_HIGHEST + more).toString('base64');
  expect(isTaken(base64, 'base64')).toBe(more <= 0);
});
