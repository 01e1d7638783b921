import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { agreeOn, decapsulateWith, encapsulateFor, readPublicKey } from '@cardea/crypto/keys/key-agreement';
import { holdsPrivate } from '@cardea/crypto/keys/key-material';
import { isOf } from '@cardea/crypto/keys/key-algorithms';
import { formatMade, parseMade } from '@cardea/crypto/keys/made-text';
import type { VaultContext } from '../../context.ts';
import { publicOnly } from '../usable-key.ts';
import { cannot } from './algorithm-refusal.ts';
import { notAuthentic } from './seal-and-open.ts';
import { useKey } from './use-key.ts';
import type { Items } from './use-key.ts';
import type { UsedKeyRef } from './use-rows.ts';

/** A secret that a caller shares with somebody. */
export interface SharedSecret {
  /** In memory of its own. The caller overwrites it. */
  secret: Uint8Array;
  keyVersion: number;
}

/** The public key of a peer, and the version that agrees with it; the newest if it is undefined. */
export interface PeerItem {
  peerPublicKeyPem: string;
  keyVersion?: number | undefined;
}

/**
 * Agrees on secrets with peers. The private key computes, as in a decryption, so that right is needed, and old versions go
 * on to do it: peers may have their public halves.
 * @throws as `useKey`; AppError `conflict` if the key agrees on none, `invalid_request` if the peer's key does not fit
 */
export function deriveSharedSecrets(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<PeerItem>,
): Promise<Audited<(SharedSecret | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.deriveSharedSecret',
      operation: 'deriveSharedSecret',
      rights: ['key.decrypt'],
      async work(key, { peerPublicKeyPem, keyVersion }: PeerItem) {
        const { algorithm } = key;
        if (!isOf('ecdh', algorithm) && !isOf('x25519', algorithm)) throw cannot(algorithm, 'agrees on no secrets');
        const peer = readPublicKey(algorithm, peerPublicKeyPem);
        if (!peer) throw noPeer(algorithm);
        const { version, material } = await key.opener(keyVersion);
        if (!holdsPrivate(material)) throw publicOnly();
        const secret = await key.run(() => agreeOn(material.key, peer));
        if (!secret) throw noPeer(algorithm);
        return { secret, keyVersion: version };
      },
    },
    items,
  );
}

/** The version for which a secret is made; the newest if it is undefined. */
export interface EncapsulateItem {
  keyVersion?: number | undefined;
}

/** Makes secrets with their ciphertexts. @throws as `useKey`; AppError `conflict` if the key cannot */
export function encapsulate(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<EncapsulateItem>,
): Promise<Audited<((SharedSecret & { ciphertext: string }) | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.encapsulate',
      operation: 'encapsulate',
      rights: ['key.encrypt'],
      async work(key, { keyVersion }: EncapsulateItem) {
        if (!isOf('ml-kem-768', key.algorithm)) throw cannot(key.algorithm, 'encapsulates no secrets');
        const { version, material } = await key.maker(keyVersion);
        const { secret, ciphertext } = await key.run(() => encapsulateFor(material.publicKey!));
        return { secret, ciphertext: formatMade({ version, bytes: ciphertext }), keyVersion: version };
      },
    },
    items,
  );
}

/** What carries a secret. */
export interface EncapsulatedItem {
  ciphertext: string;
}

/**
 * The secrets of ciphertexts. A ciphertext of another key, or a changed one, has a secret too, which nobody knows (FIPS
 * 203): only one with another length or of a version that must not open it is refused, always in the same words.
 * @throws as `useKey`; AppError `conflict` if the key cannot, `invalid_request`
 */
export function decapsulate(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<EncapsulatedItem>,
): Promise<Audited<(SharedSecret | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.decapsulate',
      operation: 'decapsulate',
      rights: ['key.decrypt'],
      async work(key, { ciphertext }: EncapsulatedItem) {
        if (!isOf('ml-kem-768', key.algorithm)) throw cannot(key.algorithm, 'encapsulates no secrets');
        const made = parseMade(ciphertext);
        const { version, material, refusal } = await key.reader(made?.version);
        if (!holdsPrivate(material)) throw publicOnly();
        const secret = await key.run(() => decapsulateWith(material.key, made?.bytes ?? new Uint8Array(0)));
        if (secret && made && refusal === undefined) return { secret, keyVersion: version };
        secret?.fill(0);
        throw notAuthentic(made ? (refusal ?? 'not-authentic') : 'not-authentic');
      },
    },
    items,
  );
}

function noPeer(algorithm: string): AppError {
  const message = `peerPublicKeyPem must be the public key of a peer, of ${algorithm} and in PEM (SubjectPublicKeyInfo)`;
  return new AppError('invalid_request', message, { rule: 'key-peer' });
}
