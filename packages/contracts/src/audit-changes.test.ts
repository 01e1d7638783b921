import { describe, expect, test } from '@jest/globals';
import { AuditChanges, CHANGES_BYTES_MAX, changesBetween } from './audit-changes.ts';

const isTaken = (changes: string) => AuditChanges.safeParse(JSON.parse(changes)).success;
const filled = (last: number) =>
  Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`f${10 + i}`, 'x'.repeat(i < 19 ? 512 : last)]));
const bytesOf = (changes: unknown) => Buffer.byteLength(JSON.stringify(changes));

describe('the changes between two states', () => {
  test('are the fields that differ, in order, with old and new values', () => {
    const before = { role: 'developer', disabled: false, verbs: ['list'], versions: 10, same: 'x', kept: ['a'] };
    const after = { versions: 3, verbs: ['list', 'read'], role: 'admin', disabled: true, same: 'x', kept: ['a'] };

    const changes = changesBetween(before, after);
    expect(changes).toEqual({
      disabled: { from: false, to: true },
      role: { from: 'developer', to: 'admin' },
      verbs: { from: ['list'], to: ['list', 'read'] },
      versions: { from: 10, to: 3 },
    });
    expect(Object.keys(changes)).toEqual(['disabled', 'role', 'verbs', 'versions']);
  });

  test('omit the side that has no value', () => {
    const before = { expiresAt: '2026-11-22T06:27:31.000000Z', prefix: undefined, description: '' };

    expect(changesBetween(before, { prefix: 'apps/ci', networks: [] })).toEqual({
      description: { from: '' },
      expiresAt: { from: '2026-11-22T06:27:31.000000Z' },
      networks: { to: [] },
      prefix: { to: 'apps/ci' },
    });
  });

  test('are empty if nothing differs', () => {
    expect(
      changesBetween({ role: 'ceo', networks: ['10.0.0.0/8'] }, { networks: ['10.0.0.0/8'], role: 'ceo' }),
    ).toEqual({});
    expect(changesBetween({}, { prefix: undefined })).toEqual({});
  });

  test('say that a secret field has changed, and show neither of its values', () => {
    const [before, after] = [
      { role: 'ceo', password: 'old' },
      { role: 'admin', password: 'new' },
    ];

    expect(changesBetween(before, after, ['password'])).toEqual({
      password: { cut: true },
      role: { from: 'ceo', to: 'admin' },
    });
  });

  test('say that a text was cut, even if both begin alike, and never cut a character in half', () => {
    const long = 'x'.repeat(511);

    expect(changesBetween({ a: `${long}xy`, b: 'b' }, { a: `${long}xz`, b: `${long}\u{1f511}` })).toEqual({
      a: { cut: true, from: `${long}x`, to: `${long}x` },
      b: { cut: true, from: 'b', to: `${long}\ufffd` },
    });
    expect(changesBetween({}, { a: `${long}x` })).toEqual({ a: { to: `${long}x` } });
  });

  test('say that a list was cut', () => {
    const items = Array.from({ length: 65 }, (_, index) => `item ${index}`);

    expect(changesBetween({}, { a: items, b: ['y'.repeat(65)] })).toEqual({
      a: { cut: true, to: items.slice(0, 64) },
      b: { cut: true, to: ['y'.repeat(64)] },
    });
  });

  test('say how many fields did not fit', () => {
    const after = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`metadata.${10 + i}`, '€'.repeat(512)]));

    const changes = changesBetween({ description: 'a' }, { description: 'b', ...after });
    const [marker, ...told] = Object.keys(changes);
    expect(marker).toBe('+58');
    expect(changes['+58']).toEqual({ cut: true });
    expect(told).toEqual(['description', ...Object.keys(after).slice(0, 6)]);
    expect(bytesOf(changes)).toBeLessThanOrEqual(CHANGES_BYTES_MAX);
    expect(AuditChanges.parse(changes)).toEqual(changes);
  });

  test('fit up to the last byte of the limit', () => {
    const spare = CHANGES_BYTES_MAX - bytesOf(changesBetween({}, filled(0)));

    const whole = changesBetween({}, filled(spare));
    expect(bytesOf(whole)).toBe(CHANGES_BYTES_MAX);
    expect(whole).not.toHaveProperty('+1');
    expect(changesBetween({}, filled(spare + 1))).toHaveProperty('+1', { cut: true });
  });
});

describe('the schema of changes', () => {
  test.each(['{}', '{"role":{"from":"a","to":"b"}}', '{"+3":{"cut":true}}', '{"metadata.caf%C3%A9":{"to":["",""]}}'])(
    'takes %s',
    (changes) => expect(isTaken(changes)).toBe(true),
  );

  test.each([
    '{"__proto__":{"to":"x"}}',
    '{"role":{"__proto__":{"to":"x"}}}',
    '{"Role":{"to":"x"}}',
    '{"":{"to":"x"}}',
    '{"rôle":{"to":"x"}}',
    '{"role":{"cut":false}}',
    '{"role":{"to":1.5}}',
    '{"role":{"to":null}}',
    '{"role":{"to":{"a":"b"}}}',
    '{"role":{"to":[1]}}',
    '{"role":{"was":"x"}}',
    '{"role":"x"}',
    '[]',
    'null',
    '"x"',
    JSON.stringify({ role: { to: 'x'.repeat(513) } }),
    JSON.stringify({ role: { to: Array(65).fill('x') } }),
    JSON.stringify({ role: { to: ['x'.repeat(65)] } }),
    JSON.stringify(Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`f${i}`, { to: 'x'.repeat(512) }]))),
  ])('refuses %s', (changes) => expect(isTaken(changes)).toBe(false));
});
