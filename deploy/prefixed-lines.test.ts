import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

import { expect, test } from '@jest/globals';

import { linePrefix, prefixedLines } from './prefixed-lines.ts';

const prefixed = (chunks: Buffer[]) =>
  text(Readable.from(chunks, { objectMode: false }).setEncoding('utf8').pipe(prefixedLines('api    | ')));

test('lines that arrive in pieces are passed on whole, and a last line without a line end gets one', async () => {
  const chunks = ['one\ntw', 'o', '\n\nthr', 'ee'].map((chunk) => Buffer.from(chunk));
  expect(await prefixed(chunks)).toBe('api    | one\napi    | two\napi    | \napi    | three\n');
});

test('a character split between two chunks stays whole', async () => {
  const bytes = Buffer.from('schlüssel\n');
  expect(await prefixed([bytes.subarray(0, 5), bytes.subarray(5)])).toBe('api    | schlüssel\n');
});

test('an endless line does not fill the memory', async () => {
  const endless = Buffer.alloc(40_000, 'x');
  expect((await prefixed([endless, endless, endless])).split('\n').map((line) => line.length)).toEqual([
    80_009, 40_009, 0,
  ]);
});

test('the columns of all labels have the same width', () => {
  const widths = ['api', 'audit', 'cardea', 'kek'].map((label) => linePrefix(label, undefined).length);
  expect(new Set(widths)).toEqual(new Set([9]));
});
