import type { SealOf } from '../keyring/format.ts';
import { expect, test } from '@jest/globals';
import { createGivenShares } from './given-shares.ts';

const SEAL_ID = '01980000-0000-7000-8000-000000000001';
const seal: SealOf<'shamir'> = {
  id: SEAL_ID,
  type: 'shamir',
  createdAt: '2026-01-01T00:00:00.000Z',
  wrappedRootKeyBase64: '',
  threshold: 2,
  shareHashesBase64: [],
};

const shareOf = (index: number) => ({ setId: '', threshold: 2, index, bytes: new Uint8Array(33).fill(7) });

test('a share that is given twice counts once, and no copy of it is left in memory', () => {
  const given = createGivenShares(() => 0);
  const [first, again, other] = [shareOf(1), shareOf(1), shareOf(2)];
  expect(given.add(seal, first).given).toBe(1);
  expect(given.add(seal, again).given).toBe(1);
  expect([first, again].map(({ bytes }) => bytes[0])).toEqual([0, 7]);
  expect(given.add(seal, other).given).toBe(2);
  given.clear();
  expect([first, again, other].map(({ bytes }) => bytes[0])).toEqual([0, 0, 0]);
});
