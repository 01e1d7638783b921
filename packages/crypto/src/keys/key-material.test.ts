import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { IntegrityError } from '../envelope.ts';
import { keyAlgorithms } from './key-algorithms.ts';
import type { KeyAlgorithm } from './key-algorithms.ts';
import {
  exportKeyMaterial,
  generateKeyMaterial,
  holdsPrivate,
  importKeyMaterial,
  importPublicKey,
  readKeyMaterial,
} from './key-material.ts';

const algorithms = Object.keys(keyAlgorithms) as KeyAlgorithm[];

/** The algorithms whose keys have the same form: those of as many bytes, or of the same curve. */
function alike(algorithm: KeyAlgorithm): KeyAlgorithm[] {
  return algorithms.filter((other) => formOf(other) === formOf(algorithm));
}

function formOf(algorithm: KeyAlgorithm): number | string {
  const spec = keyAlgorithms[algorithm];
  if ('keyBytes' in spec) return spec.keyBytes;
  return 'curve' in spec ? spec.curve : algorithm;
}

describe.each(algorithms.filter((algorithm) => !/rsa-[34]/.test(algorithm)))('%s', (algorithm) => {
  test('makes another key each time, of its own kind', async () => {
    const [one, two] = [await generateKeyMaterial(algorithm), await generateKeyMaterial(algorithm)];
    expect(Buffer.compare(one, two)).not.toBe(0);
    const spec = keyAlgorithms[algorithm];
    if ('keyBytes' in spec) expect([one[0], one.length]).toEqual([1, 1 + spec.keyBytes]);
    else expect(one[0]).toBe(2);
    const { key, publicKey } = readKeyMaterial(algorithm, one);
    expect([key.type, publicKey?.type]).toEqual('keyBytes' in spec ? ['secret', undefined] : ['private', 'public']);
  });

  test('is exported and imported as the same key', async () => {
    const { key, publicKey } = readKeyMaterial(algorithm, await generateKeyMaterial(algorithm));
    const imported = importKeyMaterial(algorithm, exportKeyMaterial({ algorithm, key }))!;
    expect(readKeyMaterial(algorithm, imported).key.equals(key)).toBe(true);
    const others = algorithms.filter((other) => {
      const material = importKeyMaterial(other, exportKeyMaterial({ algorithm, key }));
      return material !== undefined && readKeyMaterial(other, material).key.equals(key);
    });
    // Keys of AES, ChaCha20, Fernet and HMAC with as many bytes are not told apart.
    if (key.type === 'private') expect(others).toEqual(alike(algorithm));
    expect(importKeyMaterial(algorithm, exportKeyMaterial({ algorithm, key }).subarray(0, -1))).toBeUndefined();
    expect(importKeyMaterial(algorithm, new Uint8Array(0))).toBeUndefined();
    if (!publicKey) return;

    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    const half = readKeyMaterial(algorithm, importPublicKey(algorithm, pem)!);
    expect([half.publicKey!.equals(publicKey), holdsPrivate(half), holdsPrivate({ algorithm, key })]).toEqual([
      true,
      false,
      true,
    ]);
    expect(algorithms.filter((other) => importPublicKey(other, pem) !== undefined)).toEqual(alike(algorithm));
    expect(importPublicKey(algorithm, key.export({ type: 'pkcs8', format: 'pem' }))).toBeUndefined();
  });

  test('takes no material of another kind, and none that is cut', async () => {
    const material = await generateKeyMaterial(algorithm);
    const [otherKind, cut] = [Uint8Array.from(material), material.subarray(0, -1)];
    otherKind[0] = 4;
    expect(() => readKeyMaterial(algorithm, otherKind)).toThrow(IntegrityError);
    expect(() => readKeyMaterial(algorithm, cut)).toThrow();
    expect(() => readKeyMaterial(algorithm, new Uint8Array(0))).toThrow();
    const others = algorithms.filter((other) => {
      try {
        return readKeyMaterial(other, material).algorithm === other;
      } catch {
        return false;
      }
    });
    expect(others).toEqual(alike(algorithm));
  });
});

describe('an imported key', () => {
  test('of RSA has no small exponent', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
    expect(importKeyMaterial('rsa-2048', weak.privateKey.export({ type: 'pkcs8', format: 'der' }))).toBeUndefined();
    expect(importPublicKey('rsa-2048', weak.publicKey.export({ type: 'spki', format: 'pem' }))).toBeUndefined();
  });

  test.each([
    ['rsa-2048', 'rsa', { modulusLength: 2048 }],
    ['ecdsa-p256', 'ec', { namedCurve: 'prime256v1' }],
    ['ecdsa-p521', 'ec', { namedCurve: 'secp521r1' }],
  ] as const)('of %s has halves that belong together', (algorithm, type, options) => {
    const generate = generateKeyPairSync as (type: string, options: object) => { privateKey: KeyObject };
    const [one, two] = [generate(type, options).privateKey, generate(type, options).privateKey];
    const der = one.export({ type: 'pkcs8', format: 'der' });
    expect(importKeyMaterial(algorithm, Uint8Array.from(der))).toBeDefined();
    // The end of the point of a curve, or the end of a modulus and its exponent.
    const [from, to] = [one, two].map((key) =>
      createPublicKey(key).export({ type: 'spki', format: 'der' }).subarray(-64),
    );
    const at = der.indexOf(from!);
    expect(at).toBeGreaterThan(0);
    der.set(to!, at);
    expect(importKeyMaterial(algorithm, der)).toBeUndefined();
  });
});
