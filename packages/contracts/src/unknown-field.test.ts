import { expect, test } from '@jest/globals';
import { unknownField } from './unknown-field.ts';

test.each([
  ['ttlSecond', '"ttlSecond"'],
  ['', '""'],
  ['a"b\\c', '"a\\"b\\\\c"'],
  ['a\nb\u0000\u001b[31m', '"a\\nb\\u0000\\u001b[31m"'],
  ['é\u202e\u2028😀\ud800', '"\\u00e9\\u202e\\u2028\\ud83d\\ude00\\ud800"'],
  ['x'.repeat(40), `"${'x'.repeat(40)}"`],
  ['x'.repeat(41), `"${'x'.repeat(40)}..."`],
  ['😀'.repeat(41), `"${'\\ud83d\\ude00'.repeat(40)}..."`],
])('the field %j is named, escaped and cut', (name, named) => {
  expect(unknownField(name)).toBe(`has a field ${named} that is not known here`);
});
