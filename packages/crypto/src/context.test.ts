import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  dekContext,
  exportableKeyContext,
  kekContext,
  keyMaterialContext,
  rootKeyContext,
  secretContext,
  systemContext,
} from './context.ts';
import type { DekContext, KeyMaterialContext, SecretContext } from './context.ts';

type ContextInput =
  | { kind: 'secret'; ref: SecretContext }
  | { kind: 'key'; ref: KeyMaterialContext }
  | { kind: 'exportable-key'; ref: KeyMaterialContext }
  | { kind: 'dek'; ref: DekContext }
  | { kind: 'kek'; ref: { kekVersion: number } }
  | { kind: 'root-key'; ref: { sealId: string } }
  | { kind: 'system'; ref: { kind: string; id: string } };

const { contexts } = JSON.parse(readFileSync(new URL('../vectors/envelope.json', import.meta.url), 'utf8')) as {
  contexts: (ContextInput & { bytes: string })[];
};

function encode(input: ContextInput): string {
  return Buffer.from(bytesOf(input)).toString('hex');
}

function bytesOf({ kind, ref }: ContextInput): Uint8Array {
  if (kind === 'secret') return secretContext(ref);
  if (kind === 'key') return keyMaterialContext(ref);
  if (kind === 'exportable-key') return exportableKeyContext(ref);
  if (kind === 'dek') return dekContext(ref);
  if (kind === 'kek') return kekContext(ref);
  if (kind === 'root-key') return rootKeyContext(ref);
  return systemContext(ref.kind, ref.id);
}

// A small alphabet, so that some inputs differ only in where one part ends.
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', '\0', '/', '€'), maxLength: 4 }),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
);
const number = fc.oneof(fc.nat(3), fc.maxSafeNat());
const input: fc.Arbitrary<ContextInput> = fc.oneof(
  fc.record({
    kind: fc.constant('secret' as const),
    ref: fc.record({
      vaultId: text,
      vaultName: text,
      name: text,
      secretId: text,
      version: number,
      field: text,
      encoding: text,
      contentType: fc.option(text),
    }),
  }),
  fc.record({
    kind: fc.constantFrom('key' as const, 'exportable-key' as const),
    ref: fc.record({
      vaultId: text,
      vaultName: text,
      name: text,
      keyId: text,
      version: number,
      algorithm: text,
      derivation: fc.option(text),
    }),
  }),
  fc.record({
    kind: fc.constant('dek' as const),
    ref: fc.record({ vaultId: text, dekVersion: number, kekVersion: number }),
  }),
  fc.record({ kind: fc.constant('kek' as const), ref: fc.record({ kekVersion: number }) }),
  fc.record({ kind: fc.constant('root-key' as const), ref: fc.record({ sealId: text }) }),
  fc.record({ kind: fc.constant('system' as const), ref: fc.record({ kind: text, id: text }) }),
);

describe('a context', () => {
  test.each(contexts)('of kind $kind has the bytes that another program computes', (vector) => {
    expect(encode(vector)).toBe(vector.bytes);
  });

  test('differs for every two inputs', () => {
    fc.assert(
      fc.property(input, input, (a, b) => {
        expect(encode(a) === encode(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 2_000 },
    );
  });

  test('can be read back to its whole input', () => {
    fc.assert(
      fc.property(input, (a) => {
        expect(readBack(bytesOf(a), a.ref)).toEqual([`cardea/${a.kind}/v1`, ...Object.values(a.ref)]);
      }),
      { numRuns: 300 },
    );
  });

  test.each(contexts)('of kind $kind changes with each of its parts', (vector) => {
    const { kind, ref } = vector;
    const own = encode(vector);
    for (const [part, value] of Object.entries<Part>({ ...ref })) {
      for (const other of unlike(value)) {
        expect([part, encode({ kind, ref: { ...ref, [part]: other } } as ContextInput)]).not.toEqual([part, own]);
      }
    }
  });

  test('changes if a letter moves from one part to the next', () => {
    expect(encode({ kind: 'system', ref: { kind: 'ab', id: 'c' } })).not.toBe(
      encode({ kind: 'system', ref: { kind: 'a', id: 'bc' } }),
    );
  });

  test.each(['\ud800', 'a\udfffb'])('refuses a lone surrogate, for which UTF-8 has no bytes', (id) => {
    expect(() => systemContext('kind', id)).toThrow(RangeError);
  });

  test.each([-1, 0.5, 2 ** 53, Number.NaN, Infinity])('refuses %p as a version', (kekVersion) => {
    expect(() => kekContext({ kekVersion })).toThrow(RangeError);
  });
});

type Part = string | number | null;

/** Other values of a part, with an empty one and an absent one. */
function unlike(value: Part): Part[] {
  if (typeof value === 'number') return [value - 1, 0];
  if (value === null) return ['', 'null', '\0'];
  return [`${value}x`, `\0${value}`, value.slice(1)].filter((other) => other !== value);
}

function readBack(bytes: Uint8Array, like: object): (string | number | null)[] {
  const buffer = Buffer.from(bytes);
  let at = 0;
  const readString = () => {
    const length = buffer.readUInt32BE(at);
    return buffer.toString('utf8', at + 4, (at += 4 + length));
  };
  const parts = Object.entries({ domain: '', ...like }).map(([part, value]) => {
    if (typeof value === 'number') return Number(buffer.readBigUInt64BE((at += 8) - 8));
    if (['contentType', 'derivation'].includes(part) && buffer.readUInt8((at += 1) - 1) === 0) return null;
    return readString();
  });
  expect(at).toBe(bytes.length);
  return parts;
}
