import { describe, expect, test } from '@jest/globals';
import { getSecret, listVersions, putSecret } from '@cardea/contracts/secrets/secrets';
import { conditionsOf, parseConditions } from './conditions.ts';

const refusedIn = (field: string) => {
  const message = `${field}: must be * or entity tags in quotes, such as "3"`;
  return expect.objectContaining({ code: 'invalid_request', message });
};

describe('conditions are parsed as in RFC 9110', () => {
  test.each<[string, '*' | string[]]>([
    ['*', '*'],
    [' * ', '*'],
    ['"3"', ['3']],
    ['"3","4"', ['3', '4']],
    [' "3" ,\t"1-2" ', ['3', '1-2']],
    ['""', ['']],
    ['"!#~"', ['!#~']],
    [',"3",, "4",', ['3', '4']],
  ])('%j in either field', (text, tags) => {
    expect(parseConditions({ 'if-match': text })).toEqual({ ifMatch: tags });
    expect(parseConditions({ 'if-none-match': text })).toEqual({ ifNoneMatch: tags });
  });

  test.each([
    '',
    ' ',
    ',',
    '3',
    '"3',
    '3"',
    "'3'",
    '"3" "4"',
    '*,"3"',
    '"3",*',
    '**',
    '"a b"',
    '"ä"',
    '"\u007f"',
    'w/"3"',
  ])('%j is refused in either field, with the name of the field', (text) => {
    expect(() => parseConditions({ 'if-match': text })).toThrow(refusedIn('If-Match'));
    expect(() => parseConditions({ 'if-none-match': text })).toThrow(refusedIn('If-None-Match'));
  });

  test('a weak tag is accepted in If-None-Match and refused in If-Match', () => {
    expect(parseConditions({ 'if-none-match': 'W/"3", "4"' })).toEqual({ ifNoneMatch: ['3', '4'] });
    expect(() => parseConditions({ 'if-match': 'W/"3"' })).toThrow(/If-Match/);
    expect(() => parseConditions({ 'if-match': '"4", W/"3"' })).toThrow(/If-Match/);
  });

  test('a request without conditions has none', () => {
    expect(parseConditions({})).toEqual({});
  });
});

test('only an endpoint that takes conditions gets them', () => {
  const headers = { 'if-match': '"3"', 'if-none-match': '*' };
  expect(conditionsOf(headers, putSecret)).toEqual({ ifMatch: ['3'], ifNoneMatch: '*' });
  expect(conditionsOf({}, getSecret)).toEqual({});
  expect(conditionsOf({ 'if-match': 'anything' }, listVersions)).toBeUndefined();
});
