import { z } from 'zod';
import { Base64, PlainName, PrintableText, SecretName, Time } from '../names.ts';
import { MaxVersions, VaultParams } from '../vaults.ts';

/** The most bytes of a value, unless the operator sets another number. */
export const SECRET_BYTES_MAX = 8_192;

/** The highest number that the operator may set. */
export const SECRET_BYTES_HIGHEST = 65_536;

/** The content type of a reference: a value that names another secret, which is read in its place. */
export const REFERENCE_TYPE = 'application/vnd.cardea.reference+json';

export const SecretParams = z.object({ vault: PlainName, name: SecretName });

/** The parts that all endpoints of one secret share. */
export const SECRET_PATH = '/api/v1/vaults/{vault}/secrets/{+name}';
export const oneSecret = { auth: 'bearer', params: SecretParams, query: z.strictObject({}) } as const;

/** The parts that all endpoints of several secrets share. */
export const SECRETS_PATH = '/api/v1/vaults/{vault}/secrets';
export const allSecrets = { auth: 'bearer', params: VaultParams, query: z.strictObject({}) } as const;

export const Encoding = z.enum(['utf8', 'base64']);

export const ContentType = z
  .string()
  .regex(/^[\w.+-]+\/[\w.+-]+(; ?[\w-]+=[\w-]+)*$/, 'must be a media type')
  .max(128);

export const Version = z.int().min(1);

export const TtlSeconds = z.int().min(1).max(3_155_760_000);

export const MetadataKey = PrintableText({ max: 128 }).min(1);

export const MetadataValue = PrintableText({ max: 512 }).min(1);

/**
 * Custom metadata. It is not secret. The limits are those of HashiCorp Vault: 64 keys of 128 characters, values of 512.
 */
export const Metadata = z
  .record(MetadataKey, MetadataValue)
  .refine((metadata) => Object.keys(metadata).length <= 64, 'must have at most 64 keys');

export type Metadata = z.output<typeof Metadata>;

/** Metadata in an answer. An earlier version may have taken characters that are refused now. */
const StoredMetadata = z.record(z.string(), z.string());

/** A value as text, or as base64 of its bytes. Text must be well formed: UTF-8 cannot encode a lone surrogate. */
export const valueFields = {
  value: z.string().meta({
    description:
      `At most ${SECRET_BYTES_MAX} bytes, or as many as CARDEA_SECRET_BYTES_MAX of the server says, which may be up to ` +
      `${SECRET_BYTES_HIGHEST}: those of the text in UTF-8, or those that the base64 decodes to.`,
  }),
  encoding: Encoding.default('utf8'),
  contentType: ContentType.optional(),
};

/** The options of a write. The expiry is that of the new version; `metadata` replaces the old metadata. */
export const putFields = {
  ...valueFields,
  metadata: Metadata.optional(),
  ttlSeconds: TtlSeconds.optional(),
  expiresAt: Time.optional(),
  maxVersions: MaxVersions.optional(),
};

/** Refuses a value that is not base64, not well-formed text, or too large for every system. Each has a limit of its own. */
export function checkValue(
  { value, encoding }: { value: string; encoding: 'utf8' | 'base64' },
  context: z.RefinementCtx,
): void {
  const malformed = encoding === 'base64' ? Base64.safeParse(value).error?.issues[0]?.message : undefined;
  if (malformed !== undefined) {
    context.addIssue({ code: 'custom', path: ['value'], message: malformed });
  } else if (encoding === 'utf8' && !value.isWellFormed()) {
    context.addIssue({ code: 'custom', path: ['value'], message: 'must be well-formed text' });
  } else if (byteLength(value, encoding) > SECRET_BYTES_HIGHEST) {
    const message = `is larger than ${SECRET_BYTES_HIGHEST} bytes`;
    context.addIssue({ code: 'custom', path: ['value'], message, params: { tooLarge: true } });
  }
}

/** The number of bytes of a text in UTF-8, or of the bytes that its standard base64 decodes to. */
export function byteLength(text: string, encoding: 'utf8' | 'base64'): number {
  if (encoding === 'utf8') return new TextEncoder().encode(text).length;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return (text.length / 4) * 3 - padding;
}

/** Refuses two expiries in one request. */
export function checkExpiry(
  { ttlSeconds, expiresAt }: { ttlSeconds?: number | undefined; expiresAt?: string | null | undefined },
  context: z.RefinementCtx,
): void {
  if (ttlSeconds === undefined || expiresAt === undefined) return;
  context.addIssue({ code: 'custom', path: ['ttlSeconds'], message: 'cannot be combined with expiresAt' });
}

/** The answer of a write. `changed` is false if the newest version already had this value. */
export const PutOutcome = z.strictObject({
  name: SecretName,
  version: Version,
  changed: z.boolean(),
  createdAt: Time,
  expiresAt: Time.optional(),
});

/** A secret without its value. `version` is the newest version. */
export const SecretSummary = z.strictObject({
  name: SecretName,
  version: Version,
  metadata: StoredMetadata,
  maxVersions: MaxVersions.optional(),
  createdAt: Time,
  updatedAt: Time,
  /** The expiry of its newest version, or of the secret if that is sooner. */
  expiresAt: Time.optional(),
  /** Only in the list of the trash. */
  deletedAt: Time.optional(),
});

/** A secret with its value. */
export const SecretValue = z.strictObject({
  name: SecretName,
  version: Version,
  value: z.string(),
  encoding: Encoding,
  contentType: ContentType.optional(),
  metadata: StoredMetadata,
  createdAt: Time,
  expiresAt: Time.optional(),
  /** The secret that a reference led to. The value is the value of this secret. */
  target: z.strictObject({ vault: PlainName, name: SecretName, version: Version }).optional(),
});

/** Who did something. A deleted account has no name. */
export const Who = z.strictObject({
  type: z.enum(['user', 'application', 'service']),
  id: z.string(),
  name: z.string().optional(),
});
