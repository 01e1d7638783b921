import { expect, test } from '@jest/globals';
import { SharedPlaces } from './shared-places.ts';

test('one caller takes no more than a share of the places', () => {
  const places = new SharedPlaces<{ by: string; n: number }>({ each: 2, together: 3 });
  for (const n of [1, 2, 3]) places.set(`a${n}`, { by: 'user:a', n });
  for (const n of [1, 2]) places.set(`b${n}`, { by: 'user:b', n });
  expect(places.values().map(({ by, n }) => `${by} ${n}`)).toEqual(['user:a 1', 'user:a 2', 'user:b 1']);
});

test('a place that is given back, or taken over by another caller, is free for its caller again', () => {
  const places = new SharedPlaces<{ by: string }>({ each: 1, together: 3 });
  places.set('one', { by: 'user:a' });
  places.set('one', { by: 'user:b' });
  places.set('two', { by: 'user:a' });
  places.delete('two');
  places.set('three', { by: 'user:a' });
  expect([places.get('one'), places.get('two'), places.get('three')]).toEqual([
    { by: 'user:b' },
    undefined,
    { by: 'user:a' },
  ]);
});
