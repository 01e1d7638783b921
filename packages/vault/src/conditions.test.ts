import type { Conditions } from '@cardea/contracts/conditions';
import { describe, expect, test } from '@jest/globals';
import { isKnown, requireConditions } from './conditions.ts';

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

describe('a write continues', () => {
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
  ])('with %j without a version, and at version 3: %j', (conditions, expected) => {
    expect({ absent: holds(conditions, undefined), at3: holds(conditions, 3) }).toEqual(expected);
  });
});

test('a client has the version if one of its tags names it, or with *', () => {
  expect([{}, { ifNoneMatch: [] }, { ifNoneMatch: ['1', '3'] }].map(isKnownAt1To3)).toEqual([false, false, false]);
  expect([{ ifNoneMatch: ['1', '1-3'] }, { ifNoneMatch: '*' as const }].map(isKnownAt1To3)).toEqual([true, true]);
});
