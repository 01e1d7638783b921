import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PageOf, PlainName, SecretName, Time, WholeNumber } from './names.ts';
import { MaxVersions, VERSIONS_MAX, VaultParams } from './vaults.ts';

/** The most bytes a secret's value may have. */
export const SECRET_BYTES_MAX = 8_192;

/** The content type of a value that names another secret, whose value is read in its place. */
export const REFERENCE_TYPE = 'application/vnd.cardea.reference+json';

export const SecretParams = z.object({ vault: PlainName, name: SecretName });

export const Encoding = z.enum(['utf8', 'base64']);
export const ContentType = z
  .string()
  .regex(/^[\w.+-]+\/[\w.+-]+(; ?[\w-]+=[\w-]+)*$/, 'must be a media type')
  .max(128);
export const Version = z.int().min(1);
export const TtlSeconds = z.int().min(1).max(3_155_760_000);

const printable = /^[^\p{Cc}\p{Cs}]*$/u;
const MetadataKey = z.string().min(1).max(128).regex(printable, 'must be printable');
const MetadataValue = z.string().min(1).max(512).regex(printable, 'must be printable');

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
  } else if (Buffer.byteLength(value, encoding) > SECRET_BYTES_MAX) {
    const message = `is larger than ${SECRET_BYTES_MAX} bytes`;
    context.addIssue({ code: 'custom', path: ['value'], message, params: { tooLarge: true } });
  }
}

/** Refuses an end that is given twice. */
export function checkExpiry(
  { ttlSeconds, expiresAt }: { ttlSeconds?: number | undefined; expiresAt?: string | null | undefined },
  context: z.RefinementCtx,
): void {
  if (ttlSeconds === undefined || expiresAt === undefined) return;
  context.addIssue({ code: 'custom', path: ['ttlSeconds'], message: 'cannot stand beside expiresAt' });
}

const SecretInput = z.strictObject(putFields).superRefine(checkValue).superRefine(checkExpiry);

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
const Who = z.strictObject({
  type: z.enum(['user', 'application', 'service']),
  id: z.string(),
  name: z.string().optional(),
});

const common = { auth: 'bearer', query: z.strictObject({}) } as const;
const path = '/api/v1/vaults/{vault}/secrets/{+name}';

export const putSecret = endpoint({
  ...common,
  method: 'PUT',
  path,
  action: 'secret.write',
  conditional: true,
  summary: 'Store a value as the newest version. The identical value again makes no version.',
  statuses: [200, 201],
  params: SecretParams,
  body: SecretInput,
  response: PutOutcome,
});

export const getSecret = endpoint({
  ...common,
  method: 'GET',
  path,
  action: 'secret.read',
  conditional: true,
  summary: 'Read one version of a secret, the newest unless a version is named. A reference is followed.',
  statuses: [200, 304],
  params: SecretParams,
  query: z.strictObject({
    version: WholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER }).optional(),
    /** `false` reads a reference itself. */
    resolve: z.enum(['true', 'false']).default('true'),
  }),
  body: z.undefined(),
  response: SecretValue,
});

/** Words to look for. What only separates words is none. */
export const SearchText = z
  .string()
  .min(1)
  .max(128)
  .regex(/[^\s/._-]/, 'must have a letter or a digit');

export const listSecrets = endpoint({
  ...common,
  method: 'GET',
  path: '/api/v1/vaults/{vault}/secrets',
  action: 'secret.list',
  summary:
    'Names of secrets and their metadata, never their values, in the order of their names. `q` and `expiringBefore` have ' +
    'an order of their own and stand alone; in the trash (`deleted=true`) nothing is folded by `delimiter`. A page of `q`, ' +
    'and of `expiringBefore` where a path prefix hides a part, may be shorter than `limit` though there is a `nextCursor`.',
  statuses: [200],
  params: VaultParams,
  query: Page.extend({
    prefix: z.string().max(512).optional(),
    /** Shows what lies deeper than the next `/` after the prefix as one item with a `prefix`. */
    delimiter: z.literal('/').optional(),
    /** Begins of words of the name, all of which are there; in the order of the words found. */
    q: SearchText.optional(),
    /** The trash instead. */
    deleted: z.enum(['true', 'false']).default('false'),
    /** What ends before this time, the soonest first; what has ended already, too. */
    expiringBefore: Time.optional(),
  }).superRefine(checkCombination),
  body: z.undefined(),
  response: PageOf(z.union([SecretSummary, z.strictObject({ prefix: z.string() })])),
});

/** Each way to list has an order and a cursor of its own. */
function checkCombination(
  query: { prefix?: unknown; delimiter?: unknown; q?: unknown; deleted: string; expiringBefore?: unknown },
  context: z.RefinementCtx,
): void {
  const deleted = query.deleted === 'true' ? true : undefined;
  const { prefix, delimiter, q, expiringBefore } = query;
  refuseBeside(context, 'q', q, { prefix, delimiter, deleted, expiringBefore });
  refuseBeside(context, 'expiringBefore', expiringBefore, { prefix, delimiter, deleted });
  refuseBeside(context, 'deleted', deleted, { delimiter });
}

function refuseBeside(context: z.RefinementCtx, name: string, value: unknown, others: Record<string, unknown>): void {
  const beside = Object.keys(others).filter((other) => others[other] !== undefined);
  if (value === undefined || beside.length === 0) return;
  context.addIssue({ code: 'custom', path: [name], message: `cannot stand beside ${beside.join(' and ')}` });
}

export const patchSecret = endpoint({
  ...common,
  method: 'PATCH',
  path,
  action: 'secret.update',
  conditional: true,
  summary: 'Change metadata, end and number of versions by a merge patch (RFC 7396): null takes something away.',
  statuses: [200],
  params: SecretParams,
  body: z
    .strictObject({
      metadata: z.record(MetadataKey, MetadataValue.nullable()).optional(),
      /** Of the secret as a whole; with `version`, of that version. */
      expiresAt: Time.nullable().optional(),
      ttlSeconds: TtlSeconds.optional(),
      maxVersions: MaxVersions.nullable().optional(),
      version: Version.optional(),
    })
    .superRefine(checkExpiry),
  response: SecretSummary,
});

export const deleteSecret = endpoint({
  ...common,
  method: 'DELETE',
  path,
  action: 'secret.delete',
  conditional: true,
  summary: 'Put a secret into the trash. `Cardea-Dependants` says how many references point to it.',
  statuses: [204],
  params: SecretParams,
  body: z.undefined(),
  response: z.undefined(),
});

export const restoreSecret = endpoint({
  ...common,
  method: 'POST',
  path: `${path}:restore`,
  action: 'secret.restore',
  conditional: true,
  summary: 'Take a secret out of the trash.',
  statuses: [200],
  params: SecretParams,
  body: z.undefined(),
  response: SecretSummary,
});

export const purgeSecret = endpoint({
  ...common,
  method: 'POST',
  path: `${path}:purge`,
  action: 'secret.purge',
  conditional: true,
  summary: 'Remove a secret with all its versions, in the trash or not. There is no way back.',
  statuses: [204],
  params: SecretParams,
  body: z.undefined(),
  response: z.undefined(),
});

export const destroyVersions = endpoint({
  ...common,
  method: 'POST',
  path: `${path}:destroy`,
  action: 'secret.destroy',
  conditional: true,
  summary: 'Destroy the values of versions. There is no way back.',
  statuses: [200],
  params: SecretParams,
  body: z.strictObject({ versions: z.array(Version).min(1).max(VERSIONS_MAX) }),
  response: z.strictObject({ name: SecretName, destroyed: z.array(Version) }),
});

export const rollbackSecret = endpoint({
  ...common,
  method: 'POST',
  path: `${path}:rollback`,
  action: 'secret.rollback',
  conditional: true,
  summary: 'Store the value of an old version as the newest one.',
  statuses: [200],
  params: SecretParams,
  body: z.strictObject({ version: Version }),
  response: PutOutcome,
});

/** Characters a generated value is made of, by name. */
export const alphabets = {
  alphanumeric: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
  lowercase: 'abcdefghijklmnopqrstuvwxyz',
  digits: '0123456789',
  hex: '0123456789abcdef',
  base64url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
  ascii: String.fromCodePoint(...Array.from({ length: 94 }, (_, i) => 33 + i)),
} as const;

export const generateSecret = endpoint({
  ...common,
  method: 'POST',
  path: `${path}:generate`,
  action: 'secret.generate',
  conditional: true,
  summary: 'Make a random value and store it as the newest version, without showing it.',
  statuses: [200, 201],
  params: SecretParams,
  body: z
    .strictObject({
      length: z.int().min(8).max(4096).default(32),
      alphabet: z.enum(Object.keys(alphabets) as [keyof typeof alphabets]).default('alphanumeric'),
      metadata: Metadata.optional(),
      ttlSeconds: TtlSeconds.optional(),
      expiresAt: Time.optional(),
      maxVersions: MaxVersions.optional(),
    })
    .superRefine(checkExpiry)
    .prefault({}),
  response: PutOutcome,
});

export const listVersions = endpoint({
  ...common,
  method: 'GET',
  path: `${path}:versions`,
  action: 'secret.versions',
  summary: 'The versions of a secret, the newest first: who wrote them, who read them last, and what became of them.',
  statuses: [200],
  params: SecretParams,
  query: Page,
  body: z.undefined(),
  response: PageOf(
    z.strictObject({
      version: Version,
      state: z.enum(['current', 'superseded', 'expired', 'deleted', 'destroyed']),
      encoding: Encoding,
      contentType: ContentType.optional(),
      createdAt: Time,
      createdBy: Who,
      expiresAt: Time.optional(),
      destroyedAt: Time.optional(),
      destroyedBy: Who.optional(),
      lastReadAt: Time.optional(),
      lastReadBy: Who.optional(),
      breakGlass: z.array(z.strictObject({ at: Time, by: Who, reason: z.string() })).optional(),
    }),
  ),
});

/** How long a reason must be to be one. */
export const REASON_CHARACTERS_MIN = 10;

export const breakGlass = endpoint({
  ...common,
  method: 'POST',
  path: `${path}:breakGlass`,
  action: 'secret.breakGlass',
  summary: 'Oversight reads a value, for a reason, flagged in the audit log and announced to the owners of the vault.',
  statuses: [200],
  params: SecretParams,
  body: z.strictObject({
    reason: z
      .string()
      .max(512)
      .regex(printable, 'must be printable')
      // Characters that nobody sees are none.
      .refine(
        (text) => text.replaceAll(/\p{Cf}/gu, '').trim().length >= REASON_CHARACTERS_MIN,
        'must have 10 characters or more',
      ),
  }),
  response: SecretValue,
});
