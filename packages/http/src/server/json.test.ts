import { AppError } from '@cardea/contracts/errors';
import { describe, expect, test } from '@jest/globals';
import { parseJson, parseLongJson } from './json.ts';

function refusal(text: string): AppError {
  try {
    parseJson(text);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

async function outcomeOf(parse: () => Promise<unknown>): Promise<unknown> {
  return parse().catch((error: unknown) => (error as Error).message);
}

describe('JSON of a request', () => {
  test.each([
    ['{"a":1,"b":[true,null,"x"],"c":{"a":2}}', { a: 1, b: [true, null, 'x'], c: { a: 2 } }],
    ['[{"a":1},{"a":2}]', [{ a: 1 }, { a: 2 }]],
    [' {"a" : "}{][\\"," } ', { a: '}{][",' }],
    ['"text"', 'text'],
    ['{"value":"a\\\\"}', { value: 'a\\' }],
  ])('is parsed as JSON.parse does: %s', (text, expected) => {
    expect(parseJson(text)).toEqual(expected);
  });

  test.each([
    ['the same key twice', '{"value":"a","value":"b"}', 'the body has the same key twice'],
    ['the same key spelled with an escape', '{"a":1,"\\u0061":2}', 'the body has the same key twice'],
    [
      'the same key twice, behind a text that ends in a backslash',
      '{"a":"\\\\","a":1}',
      'the body has the same key twice',
    ],
    ['the same key twice, behind quotes in a text', '{"a":"\\"\\\\\\"","a":1}', 'the body has the same key twice'],
    ['the same key twice, deep inside', '{"x":[{"a":1,"a":1}]}', 'the body has the same key twice'],
    ['a key that changes prototypes', '{"__proto__":{}}', 'the body has a key that is not allowed'],
    ['no JSON', '{"value":hunter2}', 'the body is not valid JSON'],
    ['an end too early', '{"value":"hunter2', 'the body is not valid JSON'],
    ['a bad escape in a key', '{"\\x":1}', 'the body is not valid JSON'],
    ['something after the end', '{} {}', 'the body is not valid JSON'],
  ])('is refused with %s, without quoting it', (_what, text, message) => {
    expect(refusal(text)).toMatchObject({ code: 'invalid_request', message, suspicious: 'malformed_json' });
  });

  test('is refused if it is nested 100,000 levels deep, arrays or objects (CVE-2025-6203)', () => {
    expect(refusal('['.repeat(100_000)).message).toMatch(/nested deeper than 32/);
    expect(refusal('{"a":'.repeat(100_000)).message).toMatch(/nested deeper than 32/);
  });

  test('is refused if it has too many keys', () => {
    const keys = Array.from({ length: 2_001 }, (_, i) => `"k${i}":1`).join(',');
    expect(refusal(`{${keys}}`).message).toMatch(/more than 2000 keys/);
  });

  test('is refused if it has too many values, before they are made', () => {
    for (const text of [
      `[${'1,'.repeat(20_000)}1]`,
      `{"a":[${'[],'.repeat(20_000)}[]]}`,
      '{}'.repeat(20_001),
      '""'.repeat(20_001),
    ]) {
      expect(refusal(text).message).toBe('the body has more than 20000 texts, brackets and commas');
    }
    const accepted = `[${'1,'.repeat(19_999)}1]`;
    expect(parseJson(accepted)).toHaveLength(20_000);
  });

  test('is the same whether it is read at once or in turns', async () => {
    const pieces = ['"', '\\"', '\\', ':', ',', '}', ']', ' ', '{', 'a'];
    const ends = pieces.flatMap((x) => pieces.flatMap((y) => [x + y, `${x + y}"`, `${x + y}"}`, `"${x + y}`]));
    const long = `{"a":"${'\\"'.repeat(40_000)}`;
    let accepted = 0;
    for (const text of ends.map((end) => long + end)) {
      const atOnce = await outcomeOf(async () => parseJson(text));
      expect(await outcomeOf(() => parseLongJson(text, async () => undefined))).toEqual(atOnce);
      if (typeof atOnce !== 'string') accepted += 1;
    }
    // `\"`, and whatever stands between the text and a quote with a bracket.
    expect(accepted).toBeGreaterThan(10);
  });

  test('lets others in all through a text of 4 MiB', async () => {
    let times = 0;
    await parseLongJson(`{"a":"${'\\"'.repeat(2 * 1024 * 1024)}"}`, async () => void (times += 1));
    expect(times).toBeGreaterThan(60);
  });
});
