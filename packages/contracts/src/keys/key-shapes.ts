import { z } from 'zod';
import { Base64, KeyName, PlainName, Time } from '../names.ts';
import { byteLength, Version, Who } from '../secrets/secret-shapes.ts';
import { VaultParams } from '../vaults.ts';

/** The algorithms whose keys are random bytes. */
const symmetricAlgorithms = [
  'aes-128-gcm',
  'aes-256-gcm',
  'chacha20-poly1305',
  'fernet',
  'hmac-sha256',
  'hmac-sha384',
  'hmac-sha512',
] as const;

/** The algorithms of keys, by their usual names. */
export const keyAlgorithms = [
  ...symmetricAlgorithms,
  'rsa-2048',
  'rsa-3072',
  'rsa-4096',
  'ecdsa-p256',
  'ecdsa-p384',
  'ecdsa-p521',
  'ecdh-p256',
  'ed25519',
  'x25519',
  'ml-dsa-65',
  'ml-kem-768',
] as const;

export const KeyAlgorithm = z.enum(keyAlgorithms);

/** How a key derives a key for each context: HKDF (RFC 5869) with SHA-256. */
export const KeyDerivation = z.enum(['hkdf-sha256']);

/** Only a symmetric key derives others: for `superRefine`. */
export function requireDerivable(
  { algorithm, derivation }: { algorithm: string; derivation?: string | undefined },
  context: z.RefinementCtx,
): void {
  if (derivation === undefined || (symmetricAlgorithms as readonly string[]).includes(algorithm)) return;
  const message = `must be left out: a key of ${algorithm} derives no keys`;
  context.addIssue({ code: 'custom', path: ['derivation'], message });
}

/** The same as a JSON Schema. */
export const DERIVABLE = {
  anyOf: [{ properties: { algorithm: { enum: [...symmetricAlgorithms] } } }, { not: { required: ['derivation'] } }],
};

/** The most versions of a key. */
export const KEY_VERSIONS_MAX = 10_000;

/** The most bytes of a plaintext or a message. Larger data takes a data key. */
export const PLAINTEXT_BYTES_MAX = 65_536;

/** The most bytes of associated data. */
export const ASSOCIATED_DATA_BYTES_MAX = 8_192;

/** The most bytes of the context of a derived key: Node takes no more. */
export const DERIVATION_CONTEXT_BYTES_MAX = 1_024;

/** The most characters of a public key in PEM that a caller gives. */
export const PUBLIC_KEY_CHARACTERS_MAX = 4_096;

/** The most characters of a protected header of a JWS, as JSON, and of a JWS. */
export const JWS_HEADER_CHARACTERS_MAX = 8_192;
export const JWS_CHARACTERS_MAX = 120_000;

/** The most bytes of a digest: SHA-512. */
export const DIGEST_BYTES_MAX = 64;

/** The most characters of a ciphertext, a signature or a MAC: more than those of the longest plaintext. */
const MADE_CHARACTERS_MAX = 100_000;

/** The most items of a batch. */
export const KEY_BATCH_MAX = 500;

/** The most bytes of a request that uses a key. */
export const KEY_BODY_BYTES_MAX = 4 * 1024 * 1024;

/** The parts that all endpoints of one key share. */
export const KEY_PATH = '/api/v1/vaults/{vault}/keys/{name}';
export const KeyParams = z.object({ vault: PlainName, name: KeyName });
export const oneKey = { auth: 'bearer', params: KeyParams, query: z.strictObject({}) } as const;

/** The parts that all endpoints of several keys share. */
export const KEYS_PATH = '/api/v1/vaults/{vault}/keys';
export const allKeys = { auth: 'bearer', params: VaultParams, query: z.strictObject({}) } as const;

export const keyVersionStates = ['enabled', 'disabled', 'destroyed'] as const;

/** Bytes of a limited length in standard base64. */
export function Bytes(max: number) {
  return Base64.superRefine((text, context) => {
    if (byteLength(text, 'base64') <= max) return;
    const message = `is larger than ${max} bytes`;
    context.addIssue({ code: 'custom', message, params: { tooLarge: true } });
  });
}

export const Plaintext = Bytes(PLAINTEXT_BYTES_MAX);
export const AssociatedData = Bytes(ASSOCIATED_DATA_BYTES_MAX);

/** Which key a key derives: any bytes, such as the id of a customer. A key that derives none takes no context. */
export const DerivationContext = Bytes(DERIVATION_CONTEXT_BYTES_MAX).min(1);

/** A text that a key has made: `cardea:v3:…`. Whether it has that form is not told apart from whether it is authentic. */
export const MadeByKey = z.string().max(MADE_CHARACTERS_MAX);

/** How often the schedule makes a new version: an hour to ten years. */
export const RotationPeriod = z.int().min(3_600).max(315_576_000);

/** A key without its material. */
export const Key = z.strictObject({
  name: KeyName,
  algorithm: KeyAlgorithm,
  /** Whether its material can be exported, wrapped for somebody. Set when the key is made. */
  exportable: z.boolean(),
  /** How it derives a key for each context. Absent if it is used itself. Set when the key is made. */
  derivation: KeyDerivation.optional(),
  /** Whether only its public half was imported: then it verifies and encrypts, and nothing else. */
  publicOnly: z.boolean(),
  /** The newest version. It encrypts and signs unless the caller names another. */
  currentVersion: Version,
  /** The oldest version that still encrypts and signs. */
  minEncryptVersion: Version,
  /** The oldest version that still decrypts and verifies. */
  minDecryptVersion: Version,
  /** While it is set, neither the key nor its vault can be deleted. */
  deletionProtection: z.boolean(),
  /** When it is destroyed, if it was deleted. Until then it does nothing, and can be restored. */
  deleteAt: Time.optional(),
  rotationPeriodSeconds: RotationPeriod.optional(),
  /** When the schedule makes the next version. */
  nextRotationAt: Time.optional(),
  createdAt: Time,
  updatedAt: Time,
});

/** A public key as SubjectPublicKeyInfo (RFC 5280) in PEM. */
export const PublicKeyPem = z.string().min(1).max(8_192);

/** The public half of a key pair. */
const publicHalf = {
  /** SubjectPublicKeyInfo (RFC 5280) in PEM. */
  publicKeyPem: z.string().optional(),
  /** RFC 7517. Its `kid` is the key's name and the version. */
  publicKeyJwk: z.record(z.string(), z.string()).optional(),
};

/** A key, with the public half of its newest version if it has one. */
export const KeyWithPublicHalf = Key.extend(publicHalf);

export const KeyVersion = z.strictObject({
  version: Version,
  state: z.enum(keyVersionStates),
  createdAt: Time,
  createdBy: Who,
  destroyedAt: Time.optional(),
  destroyedBy: Who.optional(),
  /** What it was used for, by operation. Counted every few seconds. */
  uses: z.array(
    z.strictObject({
      operation: z.enum([
        'encrypt',
        'decrypt',
        'sign',
        'verify',
        'mac',
        'verifyMac',
        'deriveSharedSecret',
        'encapsulate',
        'decapsulate',
      ]),
      last30Days: z.int().min(0),
      lastUsedAt: Time,
      lastUsedBy: Who,
    }),
  ),
  ...publicHalf,
});
