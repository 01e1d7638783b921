import { describe, expect, test } from '@jest/globals';
import { nextAnnouncement } from './announcements.ts';

describe('an expiry at 100, with leads of 30, 7 and 1, is announced', () => {
  const ctx = { settings: { expiryLeadsMs: [7, 30, 1] } };

  test.each([
    [0, 70],
    [69, 70],
    [70, 93],
    [92, 93],
    [93, 99],
    [98, 99],
    [99, null],
    [100, null],
    [500, null],
  ])('seen at %j, next at %j', (after, at) => {
    expect(nextAnnouncement(ctx, 100, after)).toBe(at);
  });

  test('never, without an expiry or without a lead', () => {
    expect(nextAnnouncement(ctx, null, 0)).toBe(null);
    expect(nextAnnouncement({ settings: { expiryLeadsMs: [] } }, 100, 0)).toBe(null);
  });
});
