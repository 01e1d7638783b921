import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { formatMade, parseMade } from './made-text.ts';

test('what a key has made reads back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 ** 15 - 1 }), fc.uint8Array({ minLength: 1 }), (version, bytes) => {
      const read = parseMade(formatMade({ version, bytes }));
      expect([read?.version, Buffer.from(read!.bytes)]).toEqual([version, Buffer.from(bytes)]);
    }),
  );
  expect(formatMade({ version: 3, bytes: Uint8Array.of(1, 2, 3) })).toBe('cardea:v3:AQID');
});

test.each([
  '',
  'AQID',
  'cardea:v3:',
  'cardea:v0:AQID',
  'cardea:v03:AQID',
  'cardea:v-3:AQID',
  'cardea:v3.0:AQID',
  'cardea:v1000000000000000:AQID',
  'cardea:3:AQID',
  'vault:v3:AQID',
  'Cardea:v3:AQID',
  ' cardea:v3:AQID',
  'cardea:v3:AQID\n',
  'cardea:v3:AQID=',
  'cardea:v3:AQI',
  'cardea:v3:AQJ=',
  'cardea:v3:AQ-D',
  'cardea:v3:AQ:D',
])('%j is nothing that a key has made', (text) => {
  expect(parseMade(text)).toBeUndefined();
});
