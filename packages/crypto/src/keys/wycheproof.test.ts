import { createHash, createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { fromHex, toHex } from '../encoding.ts';
import { openAead, sealAeadWithNonce } from './aead.ts';
import type { AeadAlgorithm, KeyAlgorithm } from './key-algorithms.ts';
import { openKwp, sealKwp } from './key-wrap.ts';
import { isMacOf } from './mac.ts';
import { openOaep } from './rsa-oaep.ts';
import { isSignatureOf, isSignatureOfDigest } from './signatures.ts';
import type { SignatureTerms } from './signatures.ts';

// The vectors are beside the project, and not in a checkout of the project alone. The titles say how many were run.
const folder = new URL('../../../../../shared/vectors/', import.meta.url);

/** The fields of a group that its type has, and its cases. */
interface Group<T> {
  keySize: number;
  tagSize: number;
  publicKeyPem: string;
  privateKeyPem: string;
  tests: (T & { tcId: number; result: 'valid' | 'acceptable' | 'invalid' })[];
}

function groupsOf<T>(name: string): Group<T>[] {
  const file = new URL(`wycheproof_${name}.json`, folder);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { testGroups: Group<T>[] }).testGroups : [];
}

function countOf(groups: Group<unknown>[]): string {
  const cases = groups.reduce((sum, { tests }) => sum + tests.length, 0);
  return cases === 0 ? '0 cases, since ../shared/vectors is absent' : `${cases} cases`;
}

/** Runs all cases, and returns those that came out otherwise than Wycheproof says. */
async function surprises<T>(
  groups: Group<T>[],
  isTaken: (group: Group<T>, one: T) => boolean | Promise<boolean>,
): Promise<{ tcId: number; result: string }[]> {
  const found: { tcId: number; result: string }[] = [];
  for (const group of groups) {
    for (const one of group.tests) {
      const { tcId, result } = one;
      if ((await isTaken(group, one)) !== (result === 'valid')) found.push({ tcId, result });
    }
  }
  return found;
}

interface AeadCase {
  key: string;
  iv: string;
  aad: string;
  msg: string;
  ct: string;
  tag: string;
}

const aeads: [AeadAlgorithm, string, number][] = [
  ['aes-128-gcm', 'aes_gcm', 128],
  ['aes-256-gcm', 'aes_gcm', 256],
  ['chacha20-poly1305', 'chacha20_poly1305', 256],
];
const ofAeads = aeads.map(([algorithm, file, keySize]) => {
  const groups = groupsOf<AeadCase>(file).filter((group) => group.keySize === keySize && group.tagSize === 128);
  return { algorithm, groups, title: `${algorithm}: ${countOf(groups)}` };
});

test.each(ofAeads)('Wycheproof, $title', async ({ algorithm, groups }) => {
  const wrong = await surprises(groups, (_group, { key, iv, aad, msg, ct, tag }) => {
    const aeadKey = { algorithm, key: createSecretKey(fromHex(key)) };
    const opened = openAead(aeadKey, fromHex(iv + ct + tag), fromHex(aad));
    if (opened === undefined) return false;
    const sealed = sealAeadWithNonce(aeadKey, fromHex(iv), fromHex(msg), fromHex(aad));
    return toHex(opened) === msg && toHex(sealed) === iv + ct + tag;
  });
  // A nonce of another length is valid for the cipher. Cardea makes its nonces itself, and all have 12 bytes.
  const ofOtherNonces = groups.flatMap(({ tests }) => tests.filter(({ iv }) => iv.length !== 24));
  const expected = ofOtherNonces.filter(({ result }) => result === 'valid');
  expect(wrong).toEqual(expected.map(({ tcId, result }) => ({ tcId, result })));
});

const kwp = groupsOf<{ key: string; msg: string; ct: string }>('aes_kwp').filter(({ keySize }) => keySize === 256);

test(`Wycheproof, AES-KWP with keys of 256 bits: ${countOf(kwp)}`, async () => {
  const wrong = await surprises(kwp, (_group, { key, msg, ct }) => {
    const opened = openKwp(fromHex(key), fromHex(ct));
    return opened !== undefined && toHex(opened) === msg && toHex(sealKwp(fromHex(key), fromHex(msg))) === ct;
  });
  expect(wrong).toEqual([]);
});

const hmac = groupsOf<{ key: string; msg: string; tag: string }>('hmac_sha256');

test(`Wycheproof, hmac-sha256: ${countOf(hmac)}`, async () => {
  const wrong = await surprises(hmac, ({ tagSize }, { key, msg, tag }) => {
    const isWhole = isMacOf(
      { algorithm: 'hmac-sha256', key: createSecretKey(fromHex(key)) },
      fromHex(msg),
      fromHex(tag),
    );
    return isWhole && tagSize === 256;
  });
  // Cardea takes no MAC that was cut.
  const cut = hmac.filter(({ tagSize }) => tagSize !== 256).flatMap(({ tests }) => tests);
  const expected = cut.filter(({ result }) => result === 'valid');
  expect(wrong).toEqual(expected.map(({ tcId, result }) => ({ tcId, result })));
});

const signatures: [KeyAlgorithm, string, SignatureTerms][] = [
  ['ecdsa-p256', 'ecdsa_secp256r1_sha256', { hash: 'sha256', format: 'der' }],
  ['ed25519', 'ed25519', {}],
  ['rsa-2048', 'rsa_pss_2048_sha256_mgf1_32', { hash: 'sha256', scheme: 'rsassa-pss', saltLength: 32 }],
];
const ofSignatures = signatures.map(([algorithm, file, terms]) => {
  const groups = groupsOf<{ msg: string; sig: string }>(file);
  return { algorithm, terms, groups, title: `${algorithm}: ${countOf(groups)}` };
});

test.each(ofSignatures)('Wycheproof, $title', async ({ algorithm, terms, groups }) => {
  const wrong = await surprises(groups, ({ publicKeyPem }, { msg, sig }) => {
    const key = { algorithm, key: createPublicKey(publicKeyPem) };
    return isSignatureOf(key, fromHex(msg), fromHex(sig), terms);
  });
  expect(wrong).toEqual([]);
});

// Digests have code of their own: `digest-signatures.ts`.
const ofDigests = ofSignatures.filter(({ terms }) => terms.hash !== undefined);

test.each(ofDigests)('Wycheproof, digests by $title', async ({ algorithm, terms, groups }) => {
  const wrong = await surprises(groups, ({ publicKeyPem }, { msg, sig }) => {
    const key = { algorithm, key: createPublicKey(publicKeyPem) };
    const digest = createHash(terms.hash!).update(fromHex(msg)).digest();
    return isSignatureOfDigest(key, digest, fromHex(sig), terms);
  });
  expect(wrong).toEqual([]);
});

const oaep = groupsOf<{ msg: string; ct: string; label: string }>('rsa_oaep_2048_sha256_mgf1sha256');

test(`Wycheproof, RSA-OAEP with SHA-256: ${countOf(oaep)}`, async () => {
  const wrong = await surprises(oaep, async ({ privateKeyPem }, { msg, ct, label }) => {
    const opened = await openOaep(createPrivateKey(privateKeyPem), fromHex(ct), fromHex(label));
    return opened !== undefined && toHex(opened) === msg;
  });
  expect(wrong).toEqual([]);
});
