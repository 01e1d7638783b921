import { z } from 'zod';
import { PlainName, SecretName, Time } from '../names.ts';
import { MaxVersions, VaultParams } from '../vaults.ts';

/** The most bytes a secret's value may have. */
export const SECRET_BYTES_MAX = 8_192;

/** The content type of a value that names another secret, whose value is read in its place. */
export const REFERENCE_TYPE = 'application/vnd.cardea.reference+json';

export const SecretParams = z.object({ vault: PlainName, name: SecretName });

/** Where one secret is, and what every endpoint of one has. */
export const SECRET_PATH = '/api/v1/vaults/{vault}/secrets/{+name}';
export const oneSecret = { auth: 'bearer', params: SecretParams, query: z.strictObject({}) } as const;

/** Where the secrets of a vault are, and what every endpoint of several has. */
export const SECRETS_PATH = '/api/v1/vaults/{vault}/secrets';
export const allSecrets = { auth: 'bearer', params: VaultParams, query: z.strictObject({}) } as const;

export const Encoding = z.enum(['utf8', 'base64']);

export const ContentType = z
  .string()
  .regex(/^[\w.+-]+\/[\w.+-]+(; ?[\w-]+=[\w-]+)*$/, 'must be a media type')
  .max(128);

export const Version = z.int().min(1);

export const TtlSeconds = z.int().min(1).max(3_155_760_000);

export const printable = /^[^\p{Cc}\p{Cs}]*$/u;

export const MetadataKey = z.string().min(1).max(128).regex(printable, 'must be printable');

export const MetadataValue = z.string().min(1).max(512).regex(printable, 'must be printable');

/** Custom metadata, with the limits of Vault: 64 keys of 128 characters, values of 512. It is not secret. */
export const Metadata = z
  .record(MetadataKey, MetadataValue)
  .refine((metadata) => Object.keys(metadata).length <= 64, 'has at most 64 keys');

export type Metadata = z.output<typeof Metadata>;

/** A value as text, or as base64 of its bytes. Text must be well formed: a lone surrogate would not come back as it was. */
export const valueFields = {
  value: z.string(),
  encoding: Encoding.default('utf8'),
  contentType: ContentType.optional(),
};

/** What may be said beside a value when it is written. The end is of this version; `metadata` replaces what was there. */
export const putFields = {
  ...valueFields,
  metadata: Metadata.optional(),
  ttlSeconds: TtlSeconds.optional(),
  expiresAt: Time.optional(),
  maxVersions: MaxVersions.optional(),
};

/** Refuses a value that is no base64, no text, or too large. */
export function checkValue(
  { value, encoding }: { value: string; encoding: 'utf8' | 'base64' },
  context: z.RefinementCtx,
): void {
  if (encoding === 'base64' && !z.base64().safeParse(value).success) {
    context.addIssue({ code: 'custom', path: ['value'], message: 'is not standard base64' });
  } else if (encoding === 'utf8' && !value.isWellFormed()) {
    context.addIssue({ code: 'custom', path: ['value'], message: 'is not well-formed text' });
  } else if (byteLength(value, encoding) > SECRET_BYTES_MAX) {
    const message = `is larger than ${SECRET_BYTES_MAX} bytes`;
    context.addIssue({ code: 'custom', path: ['value'], message, params: { tooLarge: true } });
  }
}

/** How many bytes a text stands for: those of its UTF-8, or those that its standard base64 decodes to. */
export function byteLength(text: string, encoding: 'utf8' | 'base64'): number {
  if (encoding === 'utf8') return new TextEncoder().encode(text).length;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return (text.length / 4) * 3 - padding;
}

/** Refuses an end that is given twice. */
export function checkExpiry(
  { ttlSeconds, expiresAt }: { ttlSeconds?: number | undefined; expiresAt?: string | null | undefined },
  context: z.RefinementCtx,
): void {
  if (ttlSeconds === undefined || expiresAt === undefined) return;
  context.addIssue({ code: 'custom', path: ['ttlSeconds'], message: 'cannot stand beside expiresAt' });
}

/** What a write answers. `changed` is false if the value was there already. */
export const PutOutcome = z.strictObject({
  name: SecretName,
  version: Version,
  changed: z.boolean(),
  createdAt: Time,
  expiresAt: Time.optional(),
});

/** A secret without its value. `version` is the newest one. */
export const SecretSummary = z.strictObject({
  name: SecretName,
  version: Version,
  metadata: Metadata,
  maxVersions: MaxVersions.optional(),
  createdAt: Time,
  updatedAt: Time,
  /** When its newest version ends, by itself or with the secret. */
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
  metadata: Metadata,
  createdAt: Time,
  expiresAt: Time.optional(),
  /** What a reference led to: the value is its. */
  target: z.strictObject({ vault: PlainName, name: SecretName, version: Version }).optional(),
});

/** Who did something. An account that is gone has no name any more. */
export const Who = z.strictObject({
  type: z.enum(['user', 'application', 'service']),
  id: z.string(),
  name: z.string().optional(),
});
