import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, test } from '@jest/globals';
import { checkNewPassword } from './password-rules.ts';

const tooLong = (length: number) => Array.from({ length }, (_, at) => String.fromCodePoint(0x4e00 + at)).join('');
// These are different as JSON, and all the same as UTF-8.
const loneSurrogates = Array.from({ length: 12 }, (_, at) => String.fromCharCode(0xd800 + at)).join('');

describe('a new password', () => {
  test.each([
    'correct horse battery staple',
    'twelve chars',
    'no digits no marks no capitals',
    '94750283617501',
    'Zm9vYmFyYmF6cXV4',
    'naïve façade crème',
    'computer#94750283',
    tooLong(128),
  ])('may be %j', async (password) => {
    expect(await checkNewPassword(password, 'alice')).toBeUndefined();
  });

  test.each(['', 'eleven char', tooLong(129)])('has 12 to 128 characters, unlike %j', async (password) => {
    expect(await checkNewPassword(password, 'alice')).toBe('the password must have 12 to 128 characters');
  });

  test('is counted in code points, as it is hashed', async () => {
    const emoji = ['🦊', '🐢', '🦉', '🐝', '🦔', '🐙', '🦀', '🐳', '🦜', '🐌', '🦋', '🐞'];
    expect(await checkNewPassword(emoji.slice(1).join(''), 'alice')).toContain('12 to 128');
    expect(await checkNewPassword(emoji.join(''), 'alice')).toBeUndefined();
    // Eleven letters when composed, and six ligatures that stand for twelve.
    expect(await checkNewPassword('cre\u0300me brule\u0301', 'alice')).toContain('12 to 128');
    expect(await checkNewPassword('\u01c4\u01c7\u01ca\u0132\ufb00\ufb01', 'alice')).toBeUndefined();
  });

  test.each([
    'administrator',
    '1qaz2wsx3edc',
    'unbelievable',
    'UnBelievable',
    'ｕｎｂｅｌｉｅｖａｂｌｅ',
    'Password1234',
    '123password!',
    'qwerty!!2026',
    'PasswordPassword',
    'elephantelephant',
  ])('is not common, in any case or with any decoration: %j', async (password) => {
    expect(await checkNewPassword(password, 'alice')).toBe('the password must not be a common password, or nearly one');
  });

  test('is not in the list, whose entries of 12 characters and more are all refused', async () => {
    const file = createRequire(import.meta.url).resolve('@zxcvbn-ts/language-common/src/passwords.json');
    const listed = (JSON.parse(readFileSync(file, 'utf8')) as string[]).filter((password) => password.length >= 12);
    expect(listed.length).toBeGreaterThan(300);
    for (const password of listed) expect(await checkNewPassword(password, 'alice')).toBeDefined();
  });

  test('may be two entries of the list, which is not searched across its words', async () => {
    expect(await checkNewPassword('baseball\nabc123', 'alice')).toBeUndefined();
  });

  test.each(['aaaaaaaaaaaa', 'letmeinletmein', 'abcabcabcabc', 'xk7qp2xk7qp2', loneSurrogates])(
    'is not a few characters over and over: %j',
    async (password) => {
      expect(await checkNewPassword(password, 'alice')).toBe('the password must not repeat the same few characters');
    },
  );

  test.each([
    ['alice.the.third', 'alice.the.third'],
    ['Alice.The.Third', 'alice.the.third'],
    ['alice.the.third2026', 'alice.the.third'],
    ['!!alice12345', 'alice'],
    ['ａｌｉｃｅ.the.third', 'alice.the.third'],
  ])('is not the username with little more: %j of %s', async (password, username) => {
    expect(await checkNewPassword(password, username)).toBe(
      'the password must have more than the username and a few characters',
    );
  });

  test('may contain the username with enough other characters', async () => {
    expect(await checkNewPassword('alice likes long walks', 'alice')).toBeUndefined();
    expect(await checkNewPassword('alice.the.third', 'bob')).toBeUndefined();
  });

  test('of the greatest length takes little more work than a usual one, whatever it contains', async () => {
    const usual = await workOf(Array.from({ length: 300 }, () => 'correct horse battery staple'));
    const hard = ['a'.repeat(127) + 'b', `${'ab'.repeat(63)}ac`, '1'.repeat(64) + 'é'.repeat(64)];
    expect(await workOf(hard)).toBeLessThan(usual);
  });
});

/** What checks of these passwords take of the processor. */
async function workOf(passwords: string[]): Promise<number> {
  const start = process.threadCpuUsage();
  for (const password of passwords) await checkNewPassword(password, 'a');
  return process.threadCpuUsage(start).user;
}
