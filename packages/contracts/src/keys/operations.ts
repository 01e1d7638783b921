import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { errorCodes } from '../errors.ts';
import { TtlSeconds, Version } from '../secrets/secret-shapes.ts';
import {
  AssociatedData,
  Bytes,
  DIGEST_BYTES_MAX,
  DerivationContext,
  JWS_CHARACTERS_MAX,
  JWS_HEADER_CHARACTERS_MAX,
  KEY_BATCH_MAX,
  KEY_PATH,
  MadeByKey,
  PUBLIC_KEY_CHARACTERS_MAX,
  Plaintext,
  oneKey,
} from './key-shapes.ts';

/** The body of an operation: the fields of one item, or up to 500 items. Of the fields in `oneOf`, an item has exactly one. */
function OneOrItems<S extends Record<string, z.ZodType>>(fields: S, oneOf: (keyof S & string)[] = []) {
  const plain = z.strictObject(fields);
  const required = Object.keys(fields).filter((field) => !plain.shape[field]!.safeParse(undefined).success);
  const forms = oneOf.map((field) => ({
    required: [...required, field],
    not: { anyOf: oneOf.filter((other) => other !== field).map((other) => ({ required: [other] })) },
  }));
  const item = oneOf.length === 0 ? plain : plain.superRefine(requireOne).meta({ override: { oneOf: forms } });
  return plain
    .partial()
    .extend({ items: z.array(item).min(1).max(KEY_BATCH_MAX).optional() })
    .superRefine((body, context) => {
      const given = body as Record<string, unknown>;
      const isBatch = given['items'] !== undefined;
      const wrong = isBatch
        ? Object.keys(fields).filter((field) => given[field] !== undefined)
        : required.filter((field) => given[field] === undefined);
      const message = isBatch ? 'cannot be combined with items' : 'is missing';
      for (const field of wrong) context.addIssue({ code: 'custom', path: [field], message });
      if (!isBatch) requireOne(given, context);
    })
    .meta({
      override: {
        anyOf: [
          ...(oneOf.length === 0 ? [{ required, not: { required: ['items'] } }] : []),
          ...forms.map(({ required: own, not }) => ({
            required: own,
            not: { anyOf: [...not.anyOf, { required: ['items'] }] },
          })),
          { required: ['items'], maxProperties: 1 },
        ],
      },
    });

  function requireOne(given: Record<string, unknown>, context: z.RefinementCtx): void {
    const count = oneOf.filter((field) => given[field] !== undefined).length;
    if (oneOf.length === 0 || count === 1) return;
    const others = oneOf.slice(1).join(', ');
    const message = count === 0 ? `is missing, and so is ${others}` : `cannot be combined with ${others}`;
    context.addIssue({ code: 'custom', path: [oneOf[0]!], message });
  }
}

/** Why an item of a batch has no result. */
const Refused = z.strictObject({ error: z.strictObject({ code: z.enum(errorCodes), detail: z.string() }) });

/** The answer to `OneOrItems`: one result, or a result or an error for each item, in their order. */
function OneOrResults<R extends z.ZodType>(result: R) {
  return z.union([result, z.strictObject({ items: z.array(z.union([result, Refused])) })]);
}

const operation = { ...oneKey, method: 'POST', statuses: [200] } as const;

// Of a key that derives others: which of them works.
const derived = { contextBase64: DerivationContext.optional() };

// The version of the key that makes something; the newest if it is not given.
const keyVersion = Version.optional();
const Made = { keyVersion: Version };

export const encrypt = endpoint({
  ...operation,
  path: `${KEY_PATH}:encrypt`,
  action: 'key.encrypt',
  summary:
    'Encrypt up to 64 KiB, or up to 500 items. The associated data is authenticated, not stored: decryption needs the same, ' +
    'and the same context if the key derives others.',
  body: OneOrItems({
    plaintextBase64: Plaintext,
    associatedDataBase64: AssociatedData.optional(),
    ...derived,
    keyVersion,
  }),
  response: OneOrResults(z.strictObject({ ciphertext: MadeByKey, ...Made })),
});

export const decrypt = endpoint({
  ...operation,
  path: `${KEY_PATH}:decrypt`,
  action: 'key.decrypt',
  summary:
    'Decrypt. The answer is the same whatever is wrong with a ciphertext. With `ttlSeconds`, a Fernet token that is older is refused.',
  body: OneOrItems({
    ciphertext: MadeByKey,
    associatedDataBase64: AssociatedData.optional(),
    ...derived,
    ttlSeconds: TtlSeconds.optional(),
  }),
  response: OneOrResults(z.strictObject({ plaintextBase64: z.string(), ...Made })),
});

export const rewrap = endpoint({
  ...operation,
  path: `${KEY_PATH}:rewrap`,
  action: 'key.rewrap',
  summary:
    'Encrypt a ciphertext again under the newest version, without showing the plaintext. `newAssociatedDataBase64` replaces ' +
    'the associated data, and needs the right to decrypt too: whoever has the new data can have it decrypted.',
  body: OneOrItems({
    ciphertext: MadeByKey,
    associatedDataBase64: AssociatedData.optional(),
    newAssociatedDataBase64: AssociatedData.optional(),
    ...derived,
  }),
  response: OneOrResults(z.strictObject({ ciphertext: MadeByKey, ...Made })),
});

const dataKey = { bits: z.literal([128, 256, 512]) };
const dataKeyBody = OneOrItems({ ...dataKey, associatedDataBase64: AssociatedData.optional(), ...derived, keyVersion });

export const generateDataKey = endpoint({
  ...operation,
  path: `${KEY_PATH}:generateDataKey`,
  action: 'key.generateDataKey',
  summary:
    'Make a random data key, and show it with its ciphertext. Keep the ciphertext beside the data that it encrypts.',
  body: dataKeyBody,
  response: OneOrResults(z.strictObject({ plaintextBase64: z.string(), ciphertext: MadeByKey, ...Made })),
});

export const generateDataKeyWithoutPlaintext = endpoint({
  ...operation,
  path: `${KEY_PATH}:generateDataKeyWithoutPlaintext`,
  action: 'key.generateDataKeyWithoutPlaintext',
  summary: 'Make a random data key and show its ciphertext only.',
  body: dataKeyBody,
  response: OneOrResults(z.strictObject({ ciphertext: MadeByKey, ...Made })),
});

/** How a message is signed; see `SignatureTerms` of packages/crypto. */
const terms = {
  /** RSA and ECDSA. The default of ECDSA fits its curve, that of RSA is sha256. */
  hash: z.enum(['sha256', 'sha384', 'sha512']).optional(),
  /** RSA only. The default is rsassa-pss. */
  scheme: z.enum(['rsassa-pss', 'rsassa-pkcs1-v1_5']).optional(),
  /** Of rsassa-pss, in bytes. The default is the length of the hash. */
  saltLength: z.int().min(0).max(64).optional(),
  /** ECDSA only. The default is der. */
  format: z.enum(['der', 'ieee-p1363']).optional(),
};

/** What is signed: a message, or its digest by `hash`, which only RSA and ECDSA sign. */
const signed = { messageBase64: Plaintext.optional(), digestBase64: Bytes(DIGEST_BYTES_MAX).optional() };
const messageOrDigest: (keyof typeof signed)[] = ['messageBase64', 'digestBase64'];

export const sign = endpoint({
  ...operation,
  path: `${KEY_PATH}:sign`,
  action: 'key.sign',
  summary: 'Sign a message of up to 64 KiB or a digest, or up to 500 of them.',
  body: OneOrItems({ ...signed, ...terms, keyVersion }, messageOrDigest),
  response: OneOrResults(z.strictObject({ signature: MadeByKey, ...Made })),
});

export const verify = endpoint({
  ...operation,
  path: `${KEY_PATH}:verify`,
  action: 'key.verify',
  summary: 'Tell whether a signature is that of the message or the digest under this key, made on the same terms.',
  body: OneOrItems({ ...signed, signature: MadeByKey, ...terms }, messageOrDigest),
  response: OneOrResults(z.strictObject({ valid: z.boolean() })),
});

export const mac = endpoint({
  ...operation,
  path: `${KEY_PATH}:mac`,
  action: 'key.mac',
  summary: 'Make the message authentication code (HMAC) of a message of up to 64 KiB, or of up to 500 messages.',
  body: OneOrItems({ messageBase64: Plaintext, ...derived, keyVersion }),
  response: OneOrResults(z.strictObject({ mac: MadeByKey, ...Made })),
});

export const verifyMac = endpoint({
  ...operation,
  path: `${KEY_PATH}:verifyMac`,
  action: 'key.verifyMac',
  summary: 'Tell whether a message authentication code is that of the message under this key.',
  body: OneOrItems({ messageBase64: Plaintext, ...derived, mac: MadeByKey }),
  response: OneOrResults(z.strictObject({ valid: z.boolean() })),
});

const sharedSecret = { sharedSecretBase64: z.string(), ...Made };

export const deriveSharedSecret = endpoint({
  ...operation,
  path: `${KEY_PATH}:deriveSharedSecret`,
  action: 'key.deriveSharedSecret',
  summary:
    'Agree on a secret with a peer, of whom the public key is given: X25519, or ECDH over P-256. The answer is the bare ' +
    'secret, which is no key yet: derive one from it.',
  body: OneOrItems({
    /** SubjectPublicKeyInfo (RFC 5280) in PEM. */
    peerPublicKeyPem: z.string().max(PUBLIC_KEY_CHARACTERS_MAX),
    keyVersion,
  }),
  response: OneOrResults(z.strictObject(sharedSecret)),
});

export const encapsulate = endpoint({
  ...operation,
  path: `${KEY_PATH}:encapsulate`,
  action: 'key.encapsulate',
  summary: 'Make a secret of 32 bytes, and the ciphertext that carries it to whoever may decapsulate (ML-KEM).',
  // No field is required, so a single call may come without a body.
  body: OneOrItems({ keyVersion }).optional(),
  response: OneOrResults(z.strictObject({ ...sharedSecret, ciphertext: MadeByKey })),
});

export const decapsulate = endpoint({
  ...operation,
  path: `${KEY_PATH}:decapsulate`,
  action: 'key.decapsulate',
  summary:
    'Return the secret that a ciphertext carries. One that was changed, or made for another key, carries a secret that ' +
    'nobody knows, and is not refused (FIPS 203).',
  body: OneOrItems({ ciphertext: MadeByKey }),
  response: OneOrResults(z.strictObject(sharedSecret)),
});

/** The protected header of a JWS (RFC 7515 section 4). Without `alg` and `kid`, it gets those of the key. */
const ProtectedHeader = z
  .unknown()
  // z.record() silently drops this key. Input that does not fit must be refused, never dropped.
  .refine((value) => !Object.hasOwn(Object(value) as object, '__proto__'), 'must not have a field called __proto__')
  .pipe(
    z
      .record(z.string(), z.unknown())
      .refine(
        (header) => JSON.stringify(header).length <= JWS_HEADER_CHARACTERS_MAX,
        `must have at most ${JWS_HEADER_CHARACTERS_MAX} characters`,
      ),
  )
  .meta({ override: { type: 'object', additionalProperties: {} } });

export const signJws = endpoint({
  ...operation,
  path: `${KEY_PATH}:signJws`,
  action: 'key.signJws',
  summary:
    'Sign a payload of up to 64 KiB as a JWS in the compact serialization (RFC 7515), or up to 500 payloads. The `alg` of the ' +
    'header must fit the key. Its `kid` is that of the version in the JWK.',
  body: OneOrItems({ payloadBase64: Plaintext, protectedHeader: ProtectedHeader.optional(), ...derived, keyVersion }),
  response: OneOrResults(z.strictObject({ jws: z.string(), ...Made })),
});

export const verifyJws = endpoint({
  ...operation,
  path: `${KEY_PATH}:verifyJws`,
  action: 'key.verifyJws',
  summary: 'Tell whether a version of this key has signed a JWS: the one that its `kid` names.',
  body: OneOrItems({ jws: z.string().max(JWS_CHARACTERS_MAX), ...derived }),
  response: OneOrResults(z.strictObject({ valid: z.boolean() })),
});

export const generateRandom = endpoint({
  method: 'POST',
  path: '/api/v1/random',
  action: 'random.generate',
  summary: 'Make random bytes by the generator that makes keys.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: z.strictObject({}),
  body: z.strictObject({ bytes: z.int().min(1).max(65_536) }),
  response: z.strictObject({ bytesBase64: z.string() }),
});
