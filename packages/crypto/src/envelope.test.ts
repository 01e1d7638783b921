import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { secretContext } from './context.ts';
import {
  EnvelopeKey,
  IntegrityError,
  envelopeKeyVersion,
  open,
  openAes256Gcm,
  openXaes256Gcm,
  seal,
  sealXaes256Gcm,
} from './envelope.ts';

interface EnvelopeVector {
  name: string;
  key: string;
  keyVersion: number;
  context: string;
  envelope: string;
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/envelope.json', import.meta.url), 'utf8')) as {
  opens: (EnvelopeVector & { nonce: string; plaintext: string })[];
  refused: EnvelopeVector[];
};
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
const utf8 = (text: string) => new TextEncoder().encode(text);
const filled = (value: number) => new Uint8Array(32).fill(value);
const context = secretContext({
  vaultId: 'v',
  vaultName: 'payments',
  name: 'n',
  secretId: 's',
  version: 1,
  field: 'value',
  encoding: 'utf8',
  contentType: null,
});

describe('XAES-256-GCM with the vectors of C2SP', () => {
  const nonce = utf8('ABCDEFGHIJKLMNOPQRSTUVWX');
  const plaintext = utf8('XAES-256-GCM');

  test.each([
    {
      msb: 'L below 2^127',
      key: filled(1),
      aad: '',
      sealed: 'ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271',
    },
    {
      msb: 'L from 2^127',
      key: filled(3),
      aad: 'c2sp.org/XAES-256-GCM',
      sealed: '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d',
    },
  ])('the vector with $msb is reproduced and opens', ({ key, aad, sealed }) => {
    expect(hex(sealXaes256Gcm(key, nonce, plaintext, utf8(aad)))).toBe(sealed);
    expect(hex(openXaes256Gcm(key, nonce, bytes(sealed), utf8(aad)))).toBe(hex(plaintext));
  });

  test('10,000 random messages have the accumulated hash of the specification', () => {
    // Each message uses at most 32 + 24 + 1 + 255 + 1 + 255 bytes of the one SHAKE-128 stream.
    const stream = createHash('shake128', { outputLength: 10_000 * 568 }).digest();
    const sealedHash = createHash('shake128', { outputLength: 32 });
    let at = 0;
    const read = (count: number) => stream.subarray(at, (at += count));
    for (let i = 0; i < 10_000; i++) {
      const key = read(32);
      const nonce = read(24);
      const message = read(read(1)[0]!);
      const aad = read(read(1)[0]!);
      const sealed = sealXaes256Gcm(key, nonce, message, aad);
      if (i % 100 === 0) expect(hex(openXaes256Gcm(key, nonce, sealed, aad))).toBe(hex(message));
      sealedHash.update(sealed);
    }
    expect(sealedHash.digest('hex')).toBe('e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939');
  });

  test('a nonce or a key of another length is refused', () => {
    expect(() => sealXaes256Gcm(filled(1), nonce.subarray(1), plaintext, context)).toThrow(RangeError);
    expect(() => sealXaes256Gcm(filled(1).subarray(16), nonce, plaintext, context)).toThrow(RangeError);
  });
});

describe('the envelope vectors, made by another program', () => {
  test.each(vectors.opens)('$name opens', (vector) => {
    const key = new EnvelopeKey(vector.keyVersion, bytes(vector.key));
    expect(hex(open(key, bytes(vector.envelope), bytes(vector.context)))).toBe(vector.plaintext);
    expect(envelopeKeyVersion(bytes(vector.envelope))).toBe(vector.keyVersion);
  });

  test.each(vectors.refused)('$name: does not open', (vector) => {
    const key = new EnvelopeKey(vector.keyVersion, bytes(vector.key));
    expect(() => open(key, bytes(vector.envelope), bytes(vector.context))).toThrow(IntegrityError);
  });
});

describe('an envelope', () => {
  const key = new EnvelopeKey(7, filled(9));

  test('opens to the sealed plaintext', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 60 }), (plaintext, context) => {
        expect(hex(open(key, seal(key, plaintext, context), context))).toBe(hex(plaintext));
      }),
      { numRuns: 50 },
    );
  });

  test('consists of format, version, nonce, ciphertext and tag, with a new nonce each time', () => {
    const [first, second] = [seal(key, utf8('abc'), context), seal(key, utf8('abc'), context)];
    expect(first).toHaveLength(1 + 4 + 24 + 3 + 16);
    expect(hex(first.subarray(0, 5))).toBe('0100000007');
    expect(hex(first.subarray(5, 29))).not.toBe(hex(second.subarray(5, 29)));
  });

  test('does not open if any bit is flipped', () => {
    const envelope = seal(key, utf8('abc'), context);
    for (let bit = 0; bit < envelope.length * 8; bit++) {
      const flipped = Uint8Array.from(envelope);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => open(key, flipped, context)).toThrow(IntegrityError);
    }
  });

  test('does not open if its version is changed, even to that of a key with the same bytes', () => {
    const envelope = Uint8Array.from(seal(key, utf8('abc'), context));
    envelope[4] = 8;
    expect(() => open(new EnvelopeKey(8, filled(9)), envelope, context)).toThrow(IntegrityError);
  });

  test('does not open if it is cut anywhere', () => {
    const envelope = seal(key, utf8('abc'), context);
    for (let length = 0; length < envelope.length; length++) {
      expect(() => open(key, envelope.subarray(0, length), context)).toThrow(IntegrityError);
    }
  });

  test('gives no version if its format is unknown or it is too short', () => {
    expect(() => envelopeKeyVersion(new Uint8Array(100))).toThrow(IntegrityError);
    expect(() => envelopeKeyVersion(Uint8Array.from([1, 0, 0, 0, 7]))).toThrow(IntegrityError);
  });

  test('that does not open shows none of its bytes', () => {
    const envelope = seal(key, utf8('the secret'), context);
    expect(() => open(key, envelope, utf8('elsewhere'))).toThrow(
      expect.objectContaining({ name: 'IntegrityError', message: 'the ciphertext does not authenticate' }),
    );
  });
});

describe('an envelope key', () => {
  test('copies its bytes in and out', () => {
    const given = filled(5);
    const key = new EnvelopeKey(1, given);
    given.fill(0);
    key.bytes().fill(0);
    expect(hex(key.bytes())).toBe(hex(filled(5)));
  });

  test('cannot be used once destroyed', () => {
    const key = new EnvelopeKey(1, filled(5));
    const envelope = seal(key, utf8('abc'), context);
    key.destroy();
    key.destroy();
    expect(() => key.bytes()).toThrow('destroyed');
    expect(() => seal(key, utf8('abc'), context)).toThrow('destroyed');
    expect(() => open(key, envelope, context)).toThrow('destroyed');
  });

  test('shows none of its bytes when printed', () => {
    expect(JSON.stringify(new EnvelopeKey(1, filled(5)))).toBe('{"version":1}');
  });

  test.each([-1, 1.5, 2 ** 32, Number.NaN])('of version %p is refused', (version) => {
    expect(() => new EnvelopeKey(version, filled(5))).toThrow(RangeError);
  });

  test('of 16 bytes is refused', () => {
    expect(() => new EnvelopeKey(1, filled(5).subarray(16))).toThrow(RangeError);
  });
});

interface GcmGroup {
  keySize: number;
  ivSize: number;
  tagSize: number;
  tests: { tcId: number; key: string; iv: string; aad: string; msg: string; ct: string; tag: string; result: string }[];
}

describe('AES-256-GCM with the vectors of Wycheproof', () => {
  const file = new URL('../../../../shared/vectors/wycheproof_aes_gcm.json', import.meta.url);
  const present = existsSync(file);
  const groups = present ? (JSON.parse(readFileSync(file, 'utf8')) as { testGroups: GcmGroup[] }).testGroups : [];
  const ours = groups.filter((group) => group.keySize === 256 && group.tagSize === 128);
  const cases = ours.filter((group) => group.ivSize === 96).flatMap((group) => group.tests);
  const otherNonces = ours.filter((group) => group.ivSize !== 96).flatMap((group) => group.tests);
  const title = present ? `${cases.length} cases` : '0 cases, since ../shared/vectors is absent';

  test(`${title}: valid ciphertexts open, invalid ones do not`, () => {
    expect(present).toBe(cases.length > 0);
    for (const { tcId, result, ...t } of cases) {
      const opened = () => hex(openAes256Gcm(bytes(t.key), bytes(t.iv), bytes(t.ct + t.tag), bytes(t.aad)));
      if (result === 'valid') expect({ tcId, msg: opened() }).toEqual({ tcId, msg: t.msg });
      else expect(opened).toThrow(IntegrityError);
    }
  });

  test(`${present ? otherNonces.length : 0} cases with a nonce of another length: refused`, () => {
    for (const t of otherNonces) {
      expect(() => openAes256Gcm(bytes(t.key), bytes(t.iv), bytes(t.ct + t.tag), bytes(t.aad))).toThrow(RangeError);
    }
    expect(() => openAes256Gcm(filled(1), new Uint8Array(16), new Uint8Array(16), context)).toThrow(RangeError);
  });
});
