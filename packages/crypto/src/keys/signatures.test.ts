import { createHash, createPrivateKey, createPublicKey } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../encoding.ts';
import { generateKeyMaterial, readKeyMaterial } from './key-material.ts';
import type { KeyMaterial } from './key-material.ts';
import { isSignatureOf, isSignatureOfDigest, signDigest, signMessage } from './signatures.ts';
import type { SignatureTerms } from './signatures.ts';

const message = Buffer.from('attack at dawn');

// The seed and the public key of an Ed25519 key in the form of RFC 8410.
const ed25519 = (seed: string) =>
  createPrivateKey({
    key: Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex'),
    type: 'pkcs8',
    format: 'der',
  });

test.each([
  [
    'TEST 1',
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    'TEST 2',
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'TEST 3',
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
])('Ed25519 gives the signature of RFC 8032 section 7.1, %s', async (_name, seed, text, signature) => {
  const key = ed25519(seed);
  expect(toHex(await signMessage({ algorithm: 'ed25519', key }, fromHex(text), {}))).toBe(signature);
  const publicKey = { algorithm: 'ed25519', key: createPublicKey(key) } as const;
  expect(await isSignatureOf(publicKey, fromHex(text), fromHex(signature), {})).toBe(true);
});

const ways: ['rsa-2048' | 'ecdsa-p256' | 'ecdsa-p384' | 'ecdsa-p521' | 'ed25519' | 'ml-dsa-65', SignatureTerms[]][] = [
  [
    'rsa-2048',
    [
      {},
      { hash: 'sha384' },
      { hash: 'sha512', saltLength: 20 },
      { scheme: 'rsassa-pkcs1-v1_5' },
      { scheme: 'rsassa-pkcs1-v1_5', hash: 'sha512' },
    ],
  ],
  ['ecdsa-p256', [{}, { hash: 'sha512' }, { format: 'ieee-p1363' }]],
  ['ecdsa-p384', [{}, { hash: 'sha256' }, { format: 'ieee-p1363' }]],
  ['ecdsa-p521', [{}, { hash: 'sha256' }, { format: 'ieee-p1363' }]],
  ['ed25519', [{}]],
  ['ml-dsa-65', [{}]],
];

describe.each(ways)('%s', (algorithm, terms) => {
  let material: KeyMaterial;
  let other: KeyMaterial;
  beforeAll(async () => {
    material = readKeyMaterial(algorithm, await generateKeyMaterial(algorithm));
    other = readKeyMaterial(algorithm, await generateKeyMaterial(algorithm));
  });

  test('a signature holds for its key, message and terms only', async () => {
    const publicKey = { algorithm, key: material.publicKey! };
    for (const [index, own] of terms.entries()) {
      const signature = await signMessage({ algorithm, key: material.key }, message, own);
      const holds = await Promise.all(terms.map((each) => isSignatureOf(publicKey, message, signature, each)));
      expect([own, holds]).toEqual([own, terms.map((_, i) => i === index)]);
      expect(await isSignatureOf({ algorithm, key: other.publicKey! }, message, signature, own)).toBe(false);
      expect(await isSignatureOf(publicKey, Buffer.from('attack at noon'), signature, own)).toBe(false);
      expect(await isSignatureOf(publicKey, message, signature.subarray(1), own)).toBe(false);
      expect(await isSignatureOf(publicKey, message, Buffer.concat([Buffer.alloc(1), signature]), own)).toBe(false);
      expect(await isSignatureOf(publicKey, message, new Uint8Array(0), own)).toBe(false);
    }
  });
});

describe.each(ways.filter(([algorithm]) => /^(rsa|ecdsa)/.test(algorithm)))('%s', (algorithm, terms) => {
  test('a signature of a digest is one of its message, and the other way round', async () => {
    const material = readKeyMaterial(algorithm, await generateKeyMaterial(algorithm));
    const [own, publicKey] = [
      { algorithm, key: material.key },
      { algorithm, key: material.publicKey! },
    ];
    const natural = { 'ecdsa-p384': 'sha384', 'ecdsa-p521': 'sha512' }[algorithm as string] ?? 'sha256';
    for (const each of terms) {
      const digest = createHash(each.hash ?? natural)
        .update(message)
        .digest();
      const [ofDigest, ofMessage] = [await signDigest(own, digest, each), await signMessage(own, message, each)];
      expect([each, await isSignatureOf(publicKey, message, ofDigest, each)]).toEqual([each, true]);
      expect([each, await isSignatureOfDigest(publicKey, digest, ofMessage, each)]).toEqual([each, true]);
      const isTaken = async (signature: Uint8Array) => isSignatureOfDigest(publicKey, digest, signature, each);
      for (const wrong of [ofDigest.subarray(1), new Uint8Array(0), new Uint8Array(ofDigest.length).fill(255)]) {
        expect(await isTaken(wrong)).toBe(false);
      }
      for (let at = 0; at < ofDigest.length; at += 7) {
        const changed = Uint8Array.from(ofDigest);
        changed[at]! ^= 1;
        expect([each, at, await isTaken(changed)]).toEqual([each, at, false]);
      }
      for (const other of terms) {
        const holds = other.hash === each.hash && (await isSignatureOfDigest(publicKey, digest, ofDigest, other));
        expect([each, other, holds]).toEqual([each, other, each === other]);
      }
      digest[0]! ^= 1;
      expect(await isTaken(ofDigest)).toBe(false);
    }
  });
});

test.each<SignatureTerms>([{}, { scheme: 'rsassa-pkcs1-v1_5' }])(
  'a signature of RSA that begins with a zero does not hold without it: %j',
  async (terms) => {
    const { key, publicKey } = readKeyMaterial('rsa-2048', await generateKeyMaterial('rsa-2048'));
    const algorithm = 'rsa-2048';
    for (let n = 0; ; n += 1) {
      const text = Buffer.from(String(n));
      const signature = await signMessage({ algorithm, key }, text, terms);
      // One in 256.
      if (signature[0] !== 0) continue;
      const digest = createHash('sha256').update(text).digest();
      const by = { algorithm, key: publicKey! } as const;
      const [whole, short] = [signature, signature.subarray(1)];
      expect(await isSignatureOf(by, text, whole, terms)).toBe(true);
      expect(await isSignatureOf(by, text, short, terms)).toBe(false);
      expect(await isSignatureOfDigest(by, digest, whole, terms)).toBe(true);
      expect(await isSignatureOfDigest(by, digest, short, terms)).toBe(false);
      return;
    }
  },
);

test('ECDSA writes its two numbers one after the other, as long as the curve', async () => {
  for (const [algorithm, bytes] of [
    ['ecdsa-p256', 64],
    ['ecdsa-p384', 96],
    ['ecdsa-p521', 132],
  ] as const) {
    const { key } = readKeyMaterial(algorithm, await generateKeyMaterial(algorithm));
    expect(await signMessage({ algorithm, key }, message, { format: 'ieee-p1363' })).toHaveLength(bytes);
  }
});
