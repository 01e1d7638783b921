import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { DAY_MS } from '@cardea/contracts/durations';
import { toVaultSettings, vaultVariables } from './vault-settings.ts';

const Variables = z.object(vaultVariables);

describe('the time between an announcement and the expiry', () => {
  test.each<[string | undefined, number[]]>([
    [undefined, [30, 7, 1]],
    ['30,7,1', [30, 7, 1]],
    ['3', [3]],
    ['0', [0]],
    ['none', []],
  ])('is %j', (text, days) => {
    const { expiryLeadsMs } = toVaultSettings(Variables.parse({ CARDEA_EXPIRY_LEAD_DAYS: text }));
    expect(expiryLeadsMs).toEqual(days.map((lead) => lead * DAY_MS));
  });

  test.each(['', ',', '7,', '7 days', '-1', '1.5', 'never', '12345'])('refuses %j', (text) => {
    expect(Variables.safeParse({ CARDEA_EXPIRY_LEAD_DAYS: text }).success).toBe(false);
  });
});

test('the trash is kept for at least a day', () => {
  const { trashMs } = toVaultSettings(Variables.parse({ CARDEA_TRASH_DAYS: '2' }));
  expect(trashMs).toBe(2 * DAY_MS);
  expect(toVaultSettings(Variables.parse({})).trashMs).toBe(30 * DAY_MS);
  for (const text of ['0', '3651', 'x']) expect(Variables.safeParse({ CARDEA_TRASH_DAYS: text }).success).toBe(false);
});

test.each(Object.keys(vaultVariables).filter((name) => name !== 'CARDEA_EXPIRY_LEAD_DAYS'))(
  '%s is a number in digits',
  (name) => {
    expect(Variables.safeParse({ [name]: '2400' }).success).toBe(true);
    for (const text of ['', ' ', '1e1', '0x10', '5.0', ' 5', '+5']) {
      expect([text, Variables.safeParse({ [name]: text }).success]).toEqual([text, false]);
    }
  },
);
