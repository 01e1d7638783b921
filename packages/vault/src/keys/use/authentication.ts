import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import { isOf, keyAlgorithms } from '@cardea/crypto/keys/key-algorithms';
import type { KeyAlgorithm } from '@cardea/crypto/keys/key-algorithms';
import { isMacOf, macOf } from '@cardea/crypto/keys/mac';
import { holdsPrivate } from '@cardea/crypto/keys/key-material';
import { formatMade, parseMade } from '@cardea/crypto/keys/made-text';
import type { Made } from '@cardea/crypto/keys/made-text';
import {
  digestBytesOf,
  isSignatureOf,
  isSignatureOfDigest,
  signDigest,
  signMessage,
} from '@cardea/crypto/keys/signatures';
import type { SignatureTerms } from '@cardea/crypto/keys/signatures';
import type { VaultContext } from '../../context.ts';
import { publicOnly } from '../usable-key.ts';
import { cannot } from './algorithm-refusal.ts';
import type { KeyInUse } from './key-in-use.ts';
import { useKey } from './use-key.ts';
import type { Items } from './use-key.ts';
import type { UsedKeyRef } from './use-rows.ts';

/** A message, and the version that signs it; the newest if it is undefined. */
interface MessageItem {
  message: Uint8Array;
  keyVersion?: number | undefined;
}

/** What is signed: a message, or the digest of one that the caller has computed. */
export type Signed = { message: Uint8Array; digest?: undefined } | { message?: undefined; digest: Uint8Array };

/** What is signed, on which terms, and by which version; the newest if it is undefined. */
export type SignItem = Signed & SignatureTerms & { keyVersion?: number | undefined };

/** A signature or a MAC, and the version that made it. */
export interface Proof {
  proof: string;
  keyVersion: number;
}

/** Whether a signature or a MAC holds. */
export interface Verdict {
  valid: boolean;
  keyVersion: number | undefined;
}

/** Signs. @throws as `useKey`; AppError `conflict` if the key cannot sign so */
export function sign(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<SignItem>,
): Promise<Audited<(Proof | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.sign',
      operation: 'sign',
      rights: ['key.sign'],
      async work(key, { message, digest, keyVersion, ...terms }: SignItem) {
        const { algorithm } = key;
        requireTerms(algorithm, terms, digest);
        const { version, material } = await key.maker(keyVersion);
        if (!holdsPrivate(material)) throw publicOnly();
        const own = { algorithm, key: material.key };
        const bytes = await (digest
          ? key.run(() => signDigest(own, digest, terms), inDigestThread)
          : key.run(() => signMessage(own, message, terms)));
        return { proof: formatMade({ version, bytes }), keyVersion: version };
      },
    },
    items,
  );
}

// One thread computes on digests, whatever the algorithm, so each caller waits for its turn.
const inDigestThread = { isSlow: true };

/** What is signed, with what is said to be its signature on these terms. */
export type SignedItem = Signed & SignatureTerms & { proof: string };

/** Whether signatures hold, on the same terms. @throws as `useKey`; AppError `conflict` if the key cannot sign so */
export function verify(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<SignedItem>,
): Promise<Audited<(Verdict | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.verify',
      operation: 'verify',
      rights: ['key.verify'],
      work(key, { message, digest, proof, ...terms }: SignedItem) {
        const { algorithm } = key;
        requireTerms(algorithm, terms, digest);
        return verdictOn(key, { made: parseMade(proof) }, ({ publicKey }, bytes) => {
          const own = { algorithm, key: publicKey! };
          return digest
            ? key.run(() => isSignatureOfDigest(own, digest, bytes, terms), inDigestThread)
            : key.run(() => isSignatureOf(own, message, bytes, terms));
        });
      },
    },
    items,
  );
}

/** A message with what is said to be its MAC. */
export interface ProvenItem {
  message: Uint8Array;
  context?: Uint8Array | undefined;
  proof: string;
}

/** A message of which a code is made. */
export interface MacItem extends MessageItem {
  /** Of a key that derives others: which of them makes the code. */
  context?: Uint8Array | undefined;
}

/** Makes message authentication codes. @throws as `useKey`; AppError `conflict` if the key makes none */
export function mac(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<MacItem>,
): Promise<Audited<(Proof | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.mac',
      operation: 'mac',
      rights: ['key.sign'],
      async work({ algorithm, maker }, { message, context, keyVersion }: MacItem) {
        if (!isOf('hmac', algorithm)) throw cannot(algorithm, 'makes no message authentication codes');
        const { version, material } = await maker(keyVersion, context);
        const bytes = macOf({ algorithm, key: material.key }, message);
        return { proof: formatMade({ version, bytes }), keyVersion: version };
      },
    },
    items,
  );
}

/** Whether message authentication codes hold. @throws as `useKey`; AppError `conflict` if the key makes none */
export function verifyMac(
  ctx: VaultContext,
  caller: Caller,
  ref: UsedKeyRef,
  items: Items<ProvenItem>,
): Promise<Audited<(Verdict | AppError)[]>> {
  return useKey(
    ctx,
    caller,
    ref,
    {
      action: 'key.verifyMac',
      operation: 'verifyMac',
      rights: ['key.verify'],
      work(key, { message, context, proof }: ProvenItem) {
        const { algorithm } = key;
        if (!isOf('hmac', algorithm)) throw cannot(algorithm, 'makes no message authentication codes');
        return verdictOn(key, { made: parseMade(proof), context }, async (material, bytes) =>
          isMacOf({ algorithm, key: material.key }, message, bytes),
        );
      },
    },
    items,
  );
}

export type Material = Awaited<ReturnType<KeyInUse['reader']>>['material'];

/** Whether what a version is said to have made holds. `made` is undefined for what no version can have made. */
export async function verdictOn(
  key: KeyInUse,
  { made, context }: { made: Made | undefined; context?: Uint8Array | undefined },
  holds: (material: Material, bytes: Uint8Array) => Promise<boolean>,
): Promise<Verdict> {
  const { version, material, refusal } = await key.reader(made?.version, context);
  const isHeld = await holds(material, made?.bytes ?? new Uint8Array(0));
  const isUsable = made !== undefined && refusal === undefined;
  return { valid: isHeld && isUsable, keyVersion: isUsable ? version : undefined };
}

function requireTerms(algorithm: KeyAlgorithm, terms: SignatureTerms, digest: Uint8Array | undefined): void {
  const { hash, scheme, saltLength, format } = terms;
  const { family } = keyAlgorithms[algorithm];
  const [isRsa, isEcdsa] = [family === 'rsa', family === 'ecdsa'];
  if (!isRsa && !isEcdsa && family !== 'ed25519' && family !== 'ml-dsa-65') throw cannot(algorithm, 'cannot sign');
  if (hash !== undefined && !isRsa && !isEcdsa) throw cannot(algorithm, 'has its own hash');
  if (scheme !== undefined && !isRsa) throw cannot(algorithm, 'has no other scheme');
  if (saltLength !== undefined && (!isRsa || scheme === 'rsassa-pkcs1-v1_5'))
    throw cannot(algorithm, 'signs without a salt');
  if (format !== undefined && !isEcdsa) throw cannot(algorithm, 'has one format of signatures');
  if (digest === undefined) return;
  const bytes = digestBytesOf(algorithm, terms);
  if (bytes === undefined) throw cannot(algorithm, 'signs messages, not digests');
  if (digest.length !== bytes) throw new AppError('invalid_request', `a digest of this hash has ${bytes} bytes`);
}
