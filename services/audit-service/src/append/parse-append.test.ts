import { describe, expect, test } from '@jest/globals';
import { anEvent, appendBody } from '../../test/test-log.ts';
import { EVENT_BYTES_MAX, parseAppend } from './parse-append.ts';

describe('the body of an append', () => {
  test('gives its events and their canonical text', () => {
    const events = [anEvent(), anEvent({ reason: 'bad_password € \u001f"\\' })];

    expect(parseAppend(appendBody(events)).events).toEqual(events);
  });

  test.each([
    ['an extra space', (text: string) => text.replace('","events"', '", "events"')],
    ['a line feed at its end', (text: string) => `${text}\n`],
    ['unsorted keys', (text: string) => text.replace('"name":"alice","type":"user"', '"type":"user","name":"alice"')],
    ['a duplicate key', (text: string) => text.replace('"type":"user"', '"type":"user","type":"user"')],
    ['an unnecessary escape', (text: string) => text.replace('payments', '\\u0070ayments')],
    ['a number in another spelling', (text: string) => text.replace('"version":3', '"version":3.0')],
    ['a number that would be rounded', (text: string) => text.replace('"version":3', '"version":9007199254740993')],
    ['an unknown field', (text: string) => text.replace('"version":3', '"version":3,"zone":"b"')],
    ['a field called __proto__', (text: string) => text.replace('{"action"', '{"__proto__":{"x":1},"action"')],
    ['a __proto__ in the actor', (text: string) => text.replace('"actor":{', '"actor":{"__proto__":{"x":1},')],
    ['a __proto__ in the changes', (text: string) => text.replace('"role":{', '"__proto__":{"to":"x"},"role":{')],
    ['null', (text: string) => text.replace('"version":3', '"version":null')],
    ['half a surrogate pair', (text: string) => text.replace('payments', '\\ud800')],
    ['a byte order mark', (text: string) => `\ufeff${text}`],
    ['a time without its six decimals', (text: string) => text.replace('.123456Z', '.123Z')],
    ['no events', () => '{"batchId":"0197f3c2-0000-7000-8000-000000000001","events":[]}'],
    ['invalid JSON', () => '{'],
  ])('with %s is refused', (_name, change) => {
    const changes = { role: { from: 'developer', to: 'admin' } };
    const good = appendBody([anEvent({ changes })]).toString();
    const bad = change(good);

    expect(bad).not.toBe(good);
    expect(() => parseAppend(Buffer.from(bad))).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  test('that is not UTF-8 is refused', () => {
    const body = appendBody([anEvent()]);
    body[body.indexOf('payments')] = 0xff;

    expect(() => parseAppend(body)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });

  test('with an event too large for an entry is refused', () => {
    const long = '\u001f'.repeat(1024);
    const build = () => anEvent({ reason: long, rule: long, requestId: long });

    expect(Buffer.byteLength(JSON.stringify({ reason: long, rule: long, requestId: long }))).toBeGreaterThan(
      EVENT_BYTES_MAX,
    );
    expect(build).toThrow(expect.objectContaining({ code: 'too_large' }));
  });
});
