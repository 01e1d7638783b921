import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { Time } from '../names.ts';
import { Version } from '../secrets/secret-shapes.ts';
import {
  Bytes,
  KEYS_PATH,
  KEY_PATH,
  DERIVABLE,
  KeyAlgorithm,
  KeyDerivation,
  KeyWithPublicHalf,
  PublicKeyPem,
  allKeys,
  oneKey,
  requireDerivable,
} from './key-shapes.ts';

/** The most bytes of a wrapped key; see `WRAPPED_KEY_BYTES_MAX` of packages/crypto. */
const WRAPPED_BYTES_MAX = 8_192;

export const createImportJob = endpoint({
  ...allKeys,
  method: 'POST',
  path: `${KEYS_PATH}:importJob`,
  action: 'key.importJob',
  summary:
    'Make an RSA key of 4096 bits that wraps one key for an import into this vault, by this caller, within 24 hours. An ' +
    'import that fails uses it up too.',
  statuses: [201],
  body: z.undefined(),
  response: z.strictObject({ wrappingKeyPem: z.string(), importToken: z.string(), expiresAt: Time }),
});

export const importKey = endpoint({
  ...oneKey,
  method: 'POST',
  path: `${KEY_PATH}:import`,
  action: 'key.import',
  summary:
    'Import a key that was made elsewhere: as a new key, or as the newest version of a key of the same algorithm, which ' +
    'needs the right to rotate too. A secret or private key is wrapped as CKM_RSA_AES_KEY_WRAP of PKCS #11 does it: an AES-256 ' +
    'key by RSAES-OAEP with SHA-256 under the wrapping key, followed by the key under it by AES-KWP. A private key is wrapped as ' +
    'PKCS#8 in DER. `publicKeyPem` alone makes a key that only verifies and encrypts.',
  statuses: [201, 200],
  body: z.union([
    z
      .strictObject({
        algorithm: KeyAlgorithm,
        derivation: KeyDerivation.optional(),
        importToken: z.string().min(1).max(128),
        wrappedKeyBase64: Bytes(WRAPPED_BYTES_MAX),
      })
      .superRefine(requireDerivable)
      .meta({ override: DERIVABLE }),
    z.strictObject({ algorithm: KeyAlgorithm, publicKeyPem: PublicKeyPem }),
  ]),
  response: KeyWithPublicHalf,
});

export const exportKey = endpoint({
  ...oneKey,
  method: 'POST',
  path: `${KEY_PATH}:export`,
  action: 'key.export',
  summary:
    'Export a version of a key that was made exportable, wrapped to an RSA key of 2048 to 8192 bits as `:import` takes it. It is ' +
    'never shown in clear.',
  statuses: [200],
  body: z.strictObject({ publicKeyPem: PublicKeyPem, keyVersion: Version.optional() }),
  response: z.strictObject({ wrappedKeyBase64: z.string(), keyVersion: Version }),
});
