import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { CanonicalJsonError, canonicalize } from './canonical-json.ts';

const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) });
// No backslash: once it has seen an object with the key "\\", JSON.parse of V8 14.6 takes keys that begin with an
// escape for it in objects of the same shape, and these tests compare with what it reads.
const key = fc.string({ unit: 'binary-ascii', maxLength: 4 }).filter((text) => !text.includes('\\'));
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.string({ unit: 'binary', maxLength: 10 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 5 }),
  ),
})).value;

describe('canonical JSON', () => {
  test('sorts keys at every depth and writes no white space', () => {
    expect(canonicalize({ b: [{ z: 1, y: true }], a: { d: '', c: false }, B: -5 })).toBe(
      '{"B":-5,"a":{"c":false,"d":""},"b":[{"y":true,"z":1}]}',
    );
  });

  test('escapes the characters that RFC 8785 escapes and no others', () => {
    expect(canonicalize('\u20ac$\u000f\nA\'B"\\\\"/\u007f\u2028\b\t\f\r')).toBe(
      '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f\u2028\\b\\t\\f\\r"',
    );
    expect(canonicalize({ '\n': '\n', '"': 1, '\\': 2 })).toBe('{"\\n":"\\n","\\"":1,"\\\\":2}');
  });

  test('writes integers unchanged, and minus zero as zero', () => {
    expect(canonicalize([0, -0, 9_007_199_254_740_991, -9_007_199_254_740_991])).toBe(
      '[0,0,9007199254740991,-9007199254740991]',
    );
  });

  test('JSON.parse reads the same value from it, which gives the same text again', () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalize(value);
        expect(canonicalize(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 300 },
    );
  });

  test('does not depend on the order in which properties were set', () => {
    fc.assert(
      fc.property(fc.dictionary(key, fc.maxSafeInteger()), (object) => {
        const reversed = Object.fromEntries(Object.entries(object).toReversed());
        expect(canonicalize(reversed)).toBe(canonicalize(object));
      }),
      { numRuns: 100 },
    );
  });

  test('sorts keys that look like numbers as text, unlike an object', () => {
    expect(canonicalize({ 9: { b: 1, a: 2 }, 10: 1, a: [{ 2: 1, 1: 2, 11: 3 }], '': 0 })).toBe(
      '{"":0,"10":1,"9":{"a":2,"b":1},"a":[{"1":2,"11":3,"2":1}]}',
    );
  });

  test('keeps a property called __proto__', () => {
    expect(canonicalize(JSON.parse('{"__proto__":{"a":1}}'))).toBe('{"__proto__":{"a":1}}');
  });

  test('accepts a plain object of another realm', () => {
    expect(canonicalize(structuredClone({ a: [1] }))).toBe('{"a":[1]}');
    expect(canonicalize(Object.assign(Object.create(null), { a: 1 }))).toBe('{"a":1}');
  });

  test.each<[string, unknown]>([
    ['a fraction', { a: 1.5 }],
    ['an integer beyond 2^53-1', 2 ** 53],
    ['an integer below -(2^53-1)', -(2 ** 53)],
    ['NaN', Number.NaN],
    ['Infinity', Infinity],
    ['null', { a: null }],
    ['null by itself', null],
    ['a property that is undefined', { a: undefined }],
    ['an item that is undefined', [undefined]],
    ['a hole in an array', Array(1)],
    ['undefined by itself', undefined],
    ['a bigint', 1n],
    ['a function', { a: () => 1 }],
    ['an object that writes itself', { toJSON: () => 'x' }],
    ['an object that writes itself unseen', Object.defineProperty({}, 'toJSON', { value: () => 'x' })],
    ['an array that writes itself', Object.assign([1], { toJSON: () => 1 })],
    ['a symbol', Symbol('a')],
    ['a symbol as a key', { [Symbol('a')]: 1 }],
    ['a key outside ASCII', { é: 1 }],
    ['a lone surrogate', 'a\ud800'],
    ['a lone surrogate as a key', { '\udc00': 1 }],
    ['a date', new Date(0)],
    ['a map', new Map()],
    ['bytes', new Uint8Array(1)],
    ['an instance of a class', new CanonicalJsonError()],
    ['a boxed string', Object('a')],
    ['33 levels', nested(33)],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalize(value)).toThrow(CanonicalJsonError);
  });

  test('accepts 32 levels and refuses a cycle', () => {
    expect(canonicalize(nested(32))).toMatch(/^(\{"a":){32}1/);
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    expect(() => canonicalize(cycle)).toThrow(CanonicalJsonError);
  });
});
