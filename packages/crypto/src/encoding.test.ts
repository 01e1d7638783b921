import { describe, expect, test } from '@jest/globals';
import { fromBase64, fromHex, parseBase64, toBase64, toHex, toText } from './encoding.ts';

/** Bytes in the middle of a larger buffer, where Node puts every small Buffer. */
const bytes = Uint8Array.of(9, 9, 0, 0xc3, 0xa9, 0xff, 9).subarray(2, 6);

test('a view into a larger buffer writes only its own bytes', () => {
  expect([toHex(bytes), toBase64(bytes), toText(bytes, 'base64')]).toEqual(['00c3a9ff', 'AMOp/w==', 'AMOp/w==']);
  expect(toText(bytes.subarray(1, 3), 'utf8')).toBe('é');
});

test('every text reads back to the same bytes', () => {
  expect(fromHex('00c3a9ff')).toEqual(Buffer.from(bytes));
  for (const read of [fromBase64, parseBase64]) expect(read('AMOp/w==')).toEqual(Buffer.from(bytes));
  expect([toHex(new Uint8Array()), toBase64(new Uint8Array())]).toEqual(['', '']);
  expect(parseBase64('')).toHaveLength(0);
});

describe('unchecked base64 is accepted in its one spelling only', () => {
  test.each(['AMOp/w', 'AMOp/w=', 'AMOp_w==', 'AMOp/x==', ' AMOp/w==', 'AMOp/w==\n', 'AMOp*/w==', '=', 'A'])(
    '%j',
    (text) => {
      expect(parseBase64(text)).toBeUndefined();
    },
  );
});
