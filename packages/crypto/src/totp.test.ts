import { describe, expect, test } from '@jest/globals';
import {
  findTotpStep,
  generateRecoveryCodes,
  generateTotpSecret,
  hotpCode,
  normalizeRecoveryCode,
  totpUri,
} from './totp.ts';

const STEP_MS = 30_000;
const secret = Buffer.from('12345678901234567890');

describe('an HOTP code', () => {
  test.each(
    ['755224', '287082', '359152', '969429', '338314', '254676', '287922', '162583', '399871', '520489'].map(
      (code, counter) => ({ counter, code }),
    ),
  )('of counter $counter is that of RFC 4226 appendix D: $code', ({ counter, code }) => {
    expect(hotpCode(secret, counter)).toBe(code);
  });

  test.each([-1, 1.5, 2 ** 53, Number.NaN])('refuses the counter %p', (counter) => {
    expect(() => hotpCode(secret, counter)).toThrow(RangeError);
  });
});

describe('a TOTP code', () => {
  test.each([
    { seconds: 59, code: '94287082' },
    { seconds: 1_111_111_109, code: '07081804' },
    { seconds: 1_111_111_111, code: '14050471' },
    { seconds: 1_234_567_890, code: '89005924' },
    { seconds: 2_000_000_000, code: '69279037' },
    { seconds: 20_000_000_000, code: '65353130' },
  ])('at $seconds s is the end of that of RFC 6238 appendix B: $code', ({ seconds, code }) => {
    expect(findTotpStep(secret, code.slice(2), seconds * 1000)).toBe(Math.floor(seconds / 30));
  });

  test('is right in its own step, one before and one after, and gives its own step', () => {
    const step = 41_152_263;
    const otp = hotpCode(secret, step);
    const found = [-2, -1, 0, 1, 2].map((late) => findTotpStep(secret, otp, (step + late) * STEP_MS));
    expect(found).toEqual([undefined, step, step, step, undefined]);
  });

  test('expires after the last millisecond of the step after its own', () => {
    const otp = hotpCode(secret, 1000);
    expect(findTotpStep(secret, otp, 999 * STEP_MS - 1)).toBeUndefined();
    expect(findTotpStep(secret, otp, 999 * STEP_MS)).toBe(1000);
    expect(findTotpStep(secret, otp, 1002 * STEP_MS - 1)).toBe(1000);
    expect(findTotpStep(secret, otp, 1002 * STEP_MS)).toBeUndefined();
  });

  test('of step 0 is right at time 0', () => {
    expect(findTotpStep(secret, '755224', 0)).toBe(0);
  });

  test('of another secret is wrong', () => {
    expect(findTotpStep(Buffer.from('12345678901234567891'), '755224', 0)).toBeUndefined();
  });

  test.each([
    ' 755224',
    '755224 ',
    '755 224',
    '755224\n',
    '755-224',
    '75522',
    '7552244',
    '0755224',
    '',
    '+55224',
    '7.55e5',
    '٧٥٥٢٢٤',
    '７５５２２４',
  ])('is six ASCII digits and nothing else: %j is none', (otp) => {
    expect(findTotpStep(secret, '755224', 0)).toBe(0);
    expect(findTotpStep(secret, otp, 0)).toBeUndefined();
  });

  test('at an invalid time is wrong', () => {
    expect(findTotpStep(secret, '755224', Number.NaN)).toBeUndefined();
  });
});

describe('a TOTP secret', () => {
  test('has 20 bytes and is always new', () => {
    expect(generateTotpSecret()).toHaveLength(20);
    expect(generateTotpSecret()).not.toEqual(generateTotpSecret());
  });

  test('reaches authenticator apps in base32, with every parameter of its codes', () => {
    expect(totpUri({ issuer: 'Cardea', account: 'alice', secret })).toBe(
      'otpauth://totp/Cardea:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Cardea&algorithm=SHA1&digits=6&period=30',
    );
  });

  test.each([
    ['', ''],
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foob', 'MZXW6YQ'],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI'],
  ])('of %j is %j, as RFC 4648 section 10 has it, without padding', (text, base32) => {
    const uri = totpUri({ issuer: 'Cardea', account: 'alice', secret: Buffer.from(text) });
    expect(new URL(uri).searchParams.get('secret')).toBe(base32);
  });

  test('stays intact in the address with any name', () => {
    const uri = new URL(totpUri({ issuer: 'A & B', account: 'x?secret=MY#/', secret }));
    expect(uri.searchParams.getAll('secret')).toEqual(['GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ']);
    expect(uri.searchParams.get('issuer')).toBe('A & B');
    expect(decodeURIComponent(uri.pathname)).toBe('/A & B:x?secret=MY#/');
  });

  test.each([{ issuer: 'a:b' }, { account: 'a:b' }])('refuses a label that apps read in two ways: %j', (part) => {
    expect(() => totpUri({ issuer: 'Cardea', account: 'alice', secret, ...part })).toThrow(RangeError);
  });
});

describe('recovery codes', () => {
  const codes = generateRecoveryCodes(400);

  test('have the requested number, are all different and come in groups that are easy to read aloud', () => {
    expect(codes).toHaveLength(400);
    expect(new Set(codes).size).toBe(400);
    for (const code of codes) expect(code).toMatch(/^[A-Z2-7]{5}(-[A-Z2-7]{5}){4}$/);
  });

  test('have 125 bits: every letter is equally likely', () => {
    const counts = new Map<string, number>();
    for (const letter of codes.join('').replaceAll('-', '')) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    expect(counts.size).toBe(32);
    // 10,000 letters: 312.5 of each, standard deviation 17.4. The limits are six deviations away.
    for (const count of counts.values()) expect(Math.abs(count - 312.5)).toBeLessThan(105);
  });

  test('are the same with spaces, hyphens and lower case', () => {
    const [code = ''] = codes;
    const plain = code.replaceAll('-', '');
    for (const typed of [code, plain, code.toLowerCase(), ` ${code.replaceAll('-', ' ')}\n`, `${plain}-`]) {
      expect(normalizeRecoveryCode(typed)).toBe(plain);
    }
    expect(normalizeRecoveryCode(codes[1]!)).not.toBe(plain);
  });
});
