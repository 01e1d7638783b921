import { verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../encoding.ts';
import { decapsulateWith } from './key-agreement.ts';
import { importKeyMaterial, importPublicKey, readKeyMaterial } from './key-material.ts';
import { isSignatureOf } from './signatures.ts';

// Excerpts of the test vectors of NIST's validation program; `source` in the file says where they come from.
interface Cases<T> {
  cases: (T & { tcId: number })[];
}

const vectors = JSON.parse(readFileSync(new URL('../../vectors/nist-acvp.json', import.meta.url), 'utf8')) as {
  mlDsaKeyGen: Cases<{ seed: string; pk: string }>;
  mlDsaSigGen: Cases<{ sk: string; message: string; context: ''; signature: string }>;
  mlDsaSigVer: Cases<{ pk: string; message: string; context: string; signature: string; testPassed: boolean }>;
  mlKemKeyGen: Cases<{ d: string; z: string; ek: string }>;
  mlKemDecapsulation: Cases<{ dk: string; c: string; k: string }>;
  mlKemDecapsulationKeyCheck: Cases<{ dk: string; testPassed: boolean }>;
  mlKemEncapsulationKeyCheck: Cases<{ ek: string; testPassed: boolean }>;
};

type Lattice = 'ml-dsa-65' | 'ml-kem-768';
// RFC 9881 section 2 and RFC 9935 section 3.
const OIDS = { 'ml-dsa-65': '0609608648016503040312', 'ml-kem-768': '0609608648016503040402' };
const [SEQUENCE, OCTET_STRING, BIT_STRING, SEED] = [0x30, 0x04, 0x03, 0x80];

const der = (tag: number, ...parts: Uint8Array[]) => {
  const content = Buffer.concat(parts);
  const length = content.length < 0x80 ? [content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};

/** A private key in PKCS#8, by its seed or by its expanded form. */
function pkcs8(algorithm: Lattice, form: { seed: string } | { expanded: string }): Uint8Array {
  const key = 'seed' in form ? der(SEED, fromHex(form.seed)) : der(OCTET_STRING, fromHex(form.expanded));
  const version = Buffer.from('020100', 'hex');
  return der(SEQUENCE, version, der(SEQUENCE, fromHex(OIDS[algorithm])), der(OCTET_STRING, key));
}

function spkiPem(algorithm: Lattice, publicKey: string): string {
  const bits = der(BIT_STRING, Uint8Array.of(0), fromHex(publicKey));
  const base64 = der(SEQUENCE, der(SEQUENCE, fromHex(OIDS[algorithm])), bits).toString('base64');
  return `-----BEGIN PUBLIC KEY-----\n${base64.replace(/.{1,64}/g, '$&\n')}-----END PUBLIC KEY-----\n`;
}

const imported = (algorithm: Lattice, form: { seed: string } | { expanded: string }) => {
  const material = importKeyMaterial(algorithm, pkcs8(algorithm, form));
  return material && readKeyMaterial(algorithm, material);
};
const rawOf = (key: KeyObject) => toHex(key.export({ format: 'raw-public' })).toUpperCase();

describe('ML-DSA-65', () => {
  test.each(vectors.mlDsaKeyGen.cases)('gives the public key of case $tcId of NIST', ({ seed, pk }) => {
    expect(rawOf(imported('ml-dsa-65', { seed })!.publicKey!)).toBe(pk);
  });

  test.each(vectors.mlDsaSigGen.cases)('takes the signature of case $tcId of NIST, and no other', async (one) => {
    const material = imported('ml-dsa-65', { expanded: one.sk })!;
    const own = { algorithm: 'ml-dsa-65', key: material.publicKey! } as const;
    const [message, signature] = [fromHex(one.message), fromHex(one.signature)];
    expect(await isSignatureOf(own, message, signature, {})).toBe(true);
    message[0]! ^= 1;
    expect(await isSignatureOf(own, message, signature, {})).toBe(false);
  });

  // Cardea signs with an empty context, so the function of Node is asked here, and Cardea takes none of them.
  test.each(vectors.mlDsaSigVer.cases)('case $tcId of NIST, with a context: $testPassed', async (one) => {
    const material = readKeyMaterial('ml-dsa-65', importPublicKey('ml-dsa-65', spkiPem('ml-dsa-65', one.pk))!);
    const [key, message, signature] = [material.publicKey!, fromHex(one.message), fromHex(one.signature)];
    expect(verify(null, message, { key, context: fromHex(one.context) }, signature)).toBe(one.testPassed);
    expect(await isSignatureOf({ algorithm: 'ml-dsa-65', key }, message, signature, {})).toBe(false);
  });
});

describe('ML-KEM-768', () => {
  test.each(vectors.mlKemKeyGen.cases)('gives the public key of case $tcId of NIST', ({ d, z, ek }) => {
    expect(rawOf(imported('ml-kem-768', { seed: d + z })!.publicKey!)).toBe(ek);
  });

  test.each(vectors.mlKemDecapsulation.cases)('decapsulates case $tcId of NIST', async ({ dk, c, k }) => {
    const { key } = imported('ml-kem-768', { expanded: dk })!;
    expect(toHex((await decapsulateWith(key, fromHex(c)))!).toUpperCase()).toBe(k);
  });

  test.each(vectors.mlKemDecapsulationKeyCheck.cases)(
    'takes the private key of case $tcId of NIST: $testPassed',
    ({ dk, testPassed }) => {
      expect(imported('ml-kem-768', { expanded: dk }) !== undefined).toBe(testPassed);
    },
  );

  test.each(vectors.mlKemEncapsulationKeyCheck.cases)(
    'takes the public key of case $tcId of NIST: $testPassed',
    ({ ek, testPassed }) => {
      expect(importPublicKey('ml-kem-768', spkiPem('ml-kem-768', ek)) !== undefined).toBe(testPassed);
    },
  );
});
