import { expect, test } from '@jest/globals';
import { createVaultPace } from './vault-pace.ts';

test('after 150 vaults, a run waits for the rest of the minute, and then goes on', () => {
  let now = 5_000;
  const pace = createVaultPace(() => now);
  for (let vault = 0; vault < 150; vault += 1) {
    expect(pace.waitMs()).toBe(0);
    for (let page = 0; page < 3; page += 1) pace.note(`vault-${vault}`);
    now += 100;
  }
  expect(pace.waitMs()).toBe(45_000);
  now += 44_999;
  expect(pace.waitMs()).toBe(1);
  now += 1;
  expect(pace.waitMs()).toBe(0);
  pace.note('another');
  expect(pace.waitMs()).toBe(0);
});
