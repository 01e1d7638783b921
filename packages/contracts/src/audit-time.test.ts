import { expect, test } from '@jest/globals';
import { formatMicros, parseMicros } from './audit-time.ts';

test('a time with six decimals survives reading and writing', () => {
  for (const time of ['2026-11-22T06:27:31.000000Z', '2026-11-22T06:27:31.999999Z', '1970-01-01T00:00:00.000001Z']) {
    expect(formatMicros(parseMicros(time))).toBe(time);
  }
});

test.each([
  ['2026-11-22T06:27:31Z', '2026-11-22T06:27:31.000000Z'],
  ['2026-11-22T06:27:31.5Z', '2026-11-22T06:27:31.500000Z'],
  ['2026-11-22T06:27:31.1234567Z', '2026-11-22T06:27:31.123456Z'],
  ['2026-11-22T06:27Z', '2026-11-22T06:27:00.000000Z'],
])('%s is %s', (given, written) => {
  expect(formatMicros(parseMicros(given))).toBe(written);
});
