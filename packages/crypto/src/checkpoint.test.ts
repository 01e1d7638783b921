import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  CheckpointError,
  generateSeed,
  openCheckpoint,
  parseVerifierKey,
  signCheckpoint,
  signingKeyFromSeed,
  verifierKey,
} from './checkpoint.ts';

const vectors = JSON.parse(readFileSync(new URL('../vectors/audit-log.json', import.meta.url), 'utf8')) as {
  seed: string;
  publicKey: string;
  origin: string;
  vkey: string;
  roots: Record<string, string>;
  checkpoints: Record<string, string>;
};
const hex = (data: Uint8Array) => Buffer.from(data).toString('hex');
const key = signingKeyFromSeed(Buffer.from(vectors.seed, 'hex'));
const { origin, vkey } = vectors;
const note = vectors.checkpoints['5']!;
const [body, signatureLine] = note.split('\n\n') as [string, string];

// A note over any text, signed by the key of the vectors. Only a broken signer would make it.
function signedByUs(text: string): string {
  const keyId = Buffer.from(vkey.split('+')[1]!, 'hex');
  const signature = Buffer.concat([keyId, key.sign(Buffer.from(text))]).toString('base64');
  return `${text}\n— ${origin} ${signature}\n`;
}

describe('the vectors of the audit log', () => {
  test('the seed gives the key and the verifier key of the vectors', () => {
    expect(hex(key.publicKey)).toBe(vectors.publicKey);
    expect(verifierKey(origin, key.publicKey)).toBe(vkey);
    const parsed = parseVerifierKey(vkey);
    expect({ ...parsed, publicKey: hex(parsed.publicKey) }).toEqual({ origin, publicKey: vectors.publicKey });
  });

  test.each(Object.entries(vectors.checkpoints))(
    '%s entries give the checkpoint of the vectors, and it opens',
    (n, text) => {
      const root = Buffer.from(vectors.roots[n]!, 'hex');
      expect(signCheckpoint(key, { origin, size: Number(n), root })).toBe(text);
      const opened = openCheckpoint(text, vkey);
      expect({ ...opened, root: hex(opened.root) }).toEqual({ origin, size: Number(n), root: vectors.roots[n] });
    },
  );
});

describe('a checkpoint', () => {
  test('of any size and origin opens to the signed state', () => {
    const place = fc.string({ unit: fc.constantFrom('a', 'é', '/', '.', '-', '—', '😀'), minLength: 1, maxLength: 20 });
    const root = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(place, fc.maxSafeNat(), root, (origin, size, root) => {
        const opened = openCheckpoint(signCheckpoint(key, { origin, size, root }), verifierKey(origin, key.publicKey));
        expect({ ...opened, root: hex(opened.root) }).toEqual({ origin, size, root: hex(root) });
      }),
      { numRuns: 40 },
    );
  });

  test('does not open if any character is changed', () => {
    for (let i = 0; i < note.length; i++) {
      const other = note[i] === 'A' ? 'B' : 'A';
      expect(() => openCheckpoint(note.slice(0, i) + other + note.slice(i + 1), vkey)).toThrow(CheckpointError);
      expect(() => openCheckpoint(note.slice(0, i) + note.slice(i + 1), vkey)).toThrow(CheckpointError);
    }
  });

  test('does not open with the key of another log, nor with another key of this log', () => {
    const other = signingKeyFromSeed(generateSeed());
    expect(() => openCheckpoint(note, verifierKey('elsewhere', key.publicKey))).toThrow(CheckpointError);
    expect(() => openCheckpoint(note, verifierKey(origin, other.publicKey))).toThrow(CheckpointError);
  });

  test('opens beside signatures of other keys, which it ignores', () => {
    const witness = `— witness.example ${Buffer.alloc(76, 9).toString('base64')}\n`;
    const sameName = `— ${origin} ${Buffer.alloc(68, 9).toString('base64')}\n`;
    expect(openCheckpoint(note + witness + sameName, vkey).size).toBe(5);
    expect(openCheckpoint(`${body}\n\n${witness}${signatureLine}`, vkey).size).toBe(5);
    expect(() => openCheckpoint(`${body}\n\n${witness}`, vkey)).toThrow(CheckpointError);
  });

  test('does not open with two signatures by the key of the log, right or wrong', () => {
    const wrong = Buffer.from(signatureLine.trim().split(' ')[2]!, 'base64');
    wrong[67]! ^= 1;
    expect(() => openCheckpoint(`${note}— ${origin} ${wrong.toString('base64')}\n`, vkey)).toThrow(CheckpointError);
    expect(() => openCheckpoint(note + signatureLine, vkey)).toThrow(CheckpointError);
  });

  test.each([
    ['a signature line without a dash', `${note}witness AAAAAAAA\n`],
    ['a signature line with a hyphen', `${note}- witness AAAAAAAA\n`],
    ['a signature line without a name', `${note}— AAAAAAAA\n`],
    ['a signature line with two spaces', `${note}— witness  AAAAAAAA\n`],
    ['a signature line that is not base64', `${note}— witness AAAAAAA\n`],
    ['a signature line of a key id only', `${note}— witness AAAAAA==\n`],
    ['an empty line at the end', `${note}\n`],
    ['no line feed at the end', note.slice(0, -1)],
    ['carriage returns', note.replaceAll('\n', '\r\n')],
    ['no signature at all', `${body}\n\n`],
    ['nothing', ''],
    ['more than 64 KiB', note + `— witness ${'A'.repeat(76)}\n`.repeat(800)],
  ])('with %s does not open', (_, text) => {
    expect(() => openCheckpoint(text, vkey)).toThrow(CheckpointError);
  });

  const root = Buffer.from(vectors.roots['5']!, 'hex').toString('base64');

  test.each([
    ['a leading zero', `${origin}\n05\n${root}\n`],
    ['a sign', `${origin}\n+5\n${root}\n`],
    ['a fraction', `${origin}\n5.0\n${root}\n`],
    ['a size beyond 2^53-1', `${origin}\n9007199254740992\n${root}\n`],
    ['no size', `${origin}\n\n${root}\n`],
    ['a fourth line', `${origin}\n5\n${root}\nextension\n`],
    ['two lines', `${origin}\n5\n`],
    ['an empty fourth line', `${origin}\n5\n${root}\n\n`],
    ['another origin', `elsewhere\n5\n${root}\n`],
    ['a root of 31 bytes', `${origin}\n5\n${Buffer.alloc(31).toString('base64')}\n`],
    ['a root without padding', `${origin}\n5\n${root.slice(0, -1)}\n`],
    ['a root whose last bits are not zero', `${origin}\n5\n${'A'.repeat(42)}B=\n`],
    ['a root in base64url', `${origin}\n5\n${'_'.repeat(42)}8=\n`],
  ])('with %s does not open, even signed', (_, text) => {
    expect(openCheckpoint(signedByUs(`${origin}\n5\n${root}\n`), vkey).size).toBe(5);
    expect(() => openCheckpoint(signedByUs(text), vkey)).toThrow(CheckpointError);
  });

  test.each([
    { origin: 'with space' },
    { origin: 'with+plus' },
    { origin: 'with\nline' },
    { origin: '' },
    { origin: '\ud800' },
    { size: -1 },
    { size: 1.5 },
    { root: new Uint8Array(31) },
  ])('with %j is not signed', (wrong) => {
    expect(() => signCheckpoint(key, { origin, size: 1, root: new Uint8Array(32), ...wrong })).toThrow(CheckpointError);
  });
});

describe('a verifier key', () => {
  test.each([
    ['another key id', vkey.replace('1d4e1008', '1d4e1009')],
    ['a key id in capitals', vkey.replace('1d4e1008', '1D4E1008')],
    ['another origin', `x${vkey}`],
    ['another key', vkey.replace('AepK', 'AepL')],
    ['another algorithm', vkey.replace('+Ae', '+Ag')],
    ['a byte more', `${vkey.slice(0, -1)}sA`],
    ['a line feed after it', `${vkey}\n`],
    ['no key', 'cardea.example/audit+1d4e1008'],
    ['nothing', ''],
  ])('with %s is refused', (_, text) => {
    expect(() => parseVerifierKey(text)).toThrow(CheckpointError);
  });

  test('may have a plus sign in its base64', () => {
    const withPlus = verifierKey('o', new Uint8Array(32).fill(0xfb));
    expect(withPlus.split('+').length).toBeGreaterThan(3);
    expect(hex(parseVerifierKey(withPlus).publicKey)).toBe('fb'.repeat(32));
  });

  test('needs a key of 32 bytes', () => {
    expect(() => verifierKey(origin, new Uint8Array(31))).toThrow(CheckpointError);
    expect(() => signingKeyFromSeed(new Uint8Array(31))).toThrow(RangeError);
  });
});
