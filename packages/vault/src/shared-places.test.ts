import { expect, test } from '@jest/globals';
import { SharedPlaces } from './shared-places.ts';

test('one caller takes no more than a share of the places', () => {
  const places = new SharedPlaces<{ by: string; n: number }>({ each: 2, together: 3 });
  for (const n of [1, 2]) places.set(`a${n}`, { by: 'user:a', n });
  expect(['user:a', 'user:b'].map((by) => places.hasRoom(by))).toEqual([false, true]);
  places.set('b1', { by: 'user:b', n: 1 });
  expect(['user:b', 'user:c'].map((by) => places.hasRoom(by))).toEqual([false, false]);
});

test('a place that is given back, or taken over by another caller, is free for its caller again', () => {
  const places = new SharedPlaces<{ by: string }>({ each: 1, together: 3 });
  places.set('one', { by: 'user:a' });
  expect(places.hasRoom('user:a')).toBe(false);
  places.set('one', { by: 'user:b' });
  expect(places.hasRoom('user:a')).toBe(true);
  places.set('two', { by: 'user:a' });
  places.delete('two');
  expect(places.hasRoom('user:a')).toBe(true);
  expect([places.get('one'), places.get('two')]).toEqual([{ by: 'user:b' }, undefined]);
});
