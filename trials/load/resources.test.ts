import { expect, test } from '@jest/globals';
import { grownAfterWarmUp } from './resources.ts';

const minute = (memoryMib: number, descriptors: number) => new Map([['api-service', { memoryMib, descriptors }]]);

test('what grows in the warm-up only, or a little after it, is no leak', () => {
  expect(grownAfterWarmUp([minute(100, 30), minute(300, 90), minute(360, 100), minute(364, 106)])).toEqual([]);
});

test.each([
  ['memory', minute(376, 90), '376 MiB/90'],
  ['descriptors', minute(300, 107), '300 MiB/107'],
])('%s that grows after the warm-up is a leak', (_what, last, now) => {
  expect(grownAfterWarmUp([minute(100, 30), minute(300, 90), last])).toEqual([
    `api-service held 300 MiB/90 and now holds ${now}`,
  ]);
});
