import type { Keks } from '@cardea/contracts/keks';
import { MINUTE_MS } from '@cardea/contracts/durations';
import { beforeEach, expect, test } from '@jest/globals';
import { pacedKeks } from '../src/paced-keks.ts';

const PER_MINUTE = 12;
let now: number;
let keks: Keks;

beforeEach(() => {
  now = 0;
  const asked = { unwrap: async () => new Uint8Array(32) } as unknown as Keks;
  keks = pacedKeks(asked, { vaultsPerMinute: () => PER_MINUTE, steadyMs: () => now });
});

/** Unwraps the DEKs of vaults until it is refused. Returns how many were unwrapped, and the code of the refusal. */
async function unwrapAll(by: string | undefined): Promise<[number, string]> {
  for (let count = 0; ; count += 1) {
    try {
      const vaultId = `vault ${count} of ${by}`;
      await keks.unwrap({ vaultId, dekVersion: 1 }, { bytes: new Uint8Array(), kekVersion: 1 }, by);
    } catch (error) {
      return [count, (error as { code: string }).code];
    }
  }
}

test('a caller leaves as many vaults to others as it uses, and gets them again after a minute', async () => {
  expect(await unwrapAll('one')).toEqual([6, 'rate_limited']);
  expect(await unwrapAll('two')).toEqual([3, 'rate_limited']);
  expect(await unwrapAll('three')).toEqual([2, 'rate_limited']);
  now += MINUTE_MS;
  expect(await unwrapAll('one')).toEqual([6, 'rate_limited']);
});

test('Cardea itself uses what is left', async () => {
  expect(await unwrapAll('one')).toEqual([6, 'rate_limited']);
  expect(await unwrapAll(undefined)).toEqual([6, 'unavailable']);
});
