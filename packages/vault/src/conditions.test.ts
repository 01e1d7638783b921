import { describe, expect, test } from '@jest/globals';
import { isKnown, parseConditions, requireConditions } from './conditions.ts';
import type { Conditions } from './conditions.ts';

const refusedIn = (field: string) => {
  const message = `${field}: must be * or entity tags in quotes, such as "3"`;
  return expect.objectContaining({ code: 'invalid_request', message });
};

function holds(conditions: Conditions, current: number | undefined): boolean {
  try {
    requireConditions(conditions, current);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'precondition_failed' });
    return false;
  }
}

const isKnownAt1To3 = (conditions: Conditions) => isKnown(conditions, '1-3');

describe('conditions are read as RFC 9110 writes them', () => {
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
  ])('%j is refused in either field, by its name', (text) => {
    expect(() => parseConditions({ 'if-match': text })).toThrow(refusedIn('If-Match'));
    expect(() => parseConditions({ 'if-none-match': text })).toThrow(refusedIn('If-None-Match'));
  });

  test('a weak tag may be what one does not have, and never what one has', () => {
    expect(parseConditions({ 'if-none-match': 'W/"3", "4"' })).toEqual({ ifNoneMatch: ['3', '4'] });
    expect(() => parseConditions({ 'if-match': 'W/"3"' })).toThrow(/If-Match/);
    expect(() => parseConditions({ 'if-match': '"4", W/"3"' })).toThrow(/If-Match/);
  });

  test('none is none', () => {
    expect(parseConditions({})).toEqual({});
  });
});

describe('a write goes on', () => {
  test.each<[Conditions, { absent: boolean; at3: boolean }]>([
    [{}, { absent: true, at3: true }],
    [{ ifMatch: '*' }, { absent: false, at3: true }],
    [{ ifMatch: ['3'] }, { absent: false, at3: true }],
    [{ ifMatch: ['2', '3'] }, { absent: false, at3: true }],
    [{ ifMatch: ['2', '33', ''] }, { absent: false, at3: false }],
    [{ ifNoneMatch: '*' }, { absent: true, at3: false }],
    [{ ifNoneMatch: ['3'] }, { absent: true, at3: false }],
    [{ ifNoneMatch: ['2', '33'] }, { absent: true, at3: true }],
    [
      { ifMatch: ['3'], ifNoneMatch: ['2'] },
      { absent: false, at3: true },
    ],
    [
      { ifMatch: ['3'], ifNoneMatch: '*' },
      { absent: false, at3: false },
    ],
  ])('on %j where there is none, and where there is version 3: %j', (conditions, expected) => {
    expect({ absent: holds(conditions, undefined), at3: holds(conditions, 3) }).toEqual(expected);
  });
});

test('what a client has is what one of its tags says, or anything', () => {
  expect([{}, { ifNoneMatch: [] }, { ifNoneMatch: ['1', '3'] }].map(isKnownAt1To3)).toEqual([false, false, false]);
  expect([{ ifNoneMatch: ['1', '1-3'] }, { ifNoneMatch: '*' as const }].map(isKnownAt1To3)).toEqual([true, true]);
});
