import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { NOT_BOTH_EXPIRIES, Page, PageOf, PlainName, SecretName, Time, WholeNumber } from '../names.ts';
import { MaxVersions, VERSIONS_MAX } from '../vaults.ts';
import {
  ContentType,
  Encoding,
  Metadata,
  MetadataKey,
  MetadataValue,
  PutOutcome,
  SECRET_PATH,
  SecretSummary,
  SecretValue,
  TtlSeconds,
  Version,
  Who,
  checkExpiry,
  checkValue,
  oneSecret,
  putFields,
} from './secret-shapes.ts';

const SecretInput = z
  .strictObject(putFields)
  .superRefine(checkValue)
  .superRefine(checkExpiry)
  .meta({ override: NOT_BOTH_EXPIRIES });

export const putSecret = endpoint({
  ...oneSecret,
  method: 'PUT',
  path: SECRET_PATH,
  action: 'secret.write',
  conditional: true,
  summary:
    'Store a value as the newest version of a secret. If the newest version already has this value, no new version is made.',
  statuses: [200, 201],
  body: SecretInput,
  response: PutOutcome,
});

export const getSecret = endpoint({
  ...oneSecret,
  method: 'GET',
  path: SECRET_PATH,
  action: 'secret.read',
  conditional: true,
  bare: true,
  summary:
    'Read the newest version of a secret, or the version in the query. References are followed. With `Accept: text/plain` ' +
    'or `application/octet-stream` the answer is the value alone, as its bytes.',
  statuses: [200, 304],
  query: z.strictObject({
    version: WholeNumber({ min: 1, max: Number.MAX_SAFE_INTEGER }).optional(),
    /** `false` returns a reference itself and does not follow it. */
    resolve: z.enum(['true', 'false']).default('true'),
  }),
  body: z.undefined(),
  response: SecretValue,
});

export const patchSecret = endpoint({
  ...oneSecret,
  method: 'PATCH',
  path: SECRET_PATH,
  action: 'secret.update',
  conditional: true,
  summary: 'Change metadata, expiry and limit of versions with a merge patch (RFC 7396). null clears a field.',
  statuses: [200],
  body: z
    .strictObject({
      metadata: z.record(MetadataKey, MetadataValue.nullable()).optional(),
      /** The expiry of the whole secret, or of `version` if that is given. */
      expiresAt: Time.nullable().optional(),
      ttlSeconds: TtlSeconds.optional(),
      maxVersions: MaxVersions.nullable().optional(),
      version: Version.optional(),
    })
    .superRefine(checkExpiry)
    .meta({ override: NOT_BOTH_EXPIRIES }),
  response: SecretSummary,
});

export const destroyVersions = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:destroy`,
  action: 'secret.destroy',
  conditional: true,
  summary: 'Destroy the values of versions. This cannot be undone.',
  statuses: [200],
  body: z.strictObject({ versions: z.array(Version).min(1).max(VERSIONS_MAX) }),
  response: z.strictObject({ name: SecretName, destroyed: z.array(Version) }),
});

export const rollbackSecret = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:rollback`,
  action: 'secret.rollback',
  conditional: true,
  summary: 'Store the value of an old version as the newest version.',
  statuses: [200],
  body: z.strictObject({ version: Version }),
  response: PutOutcome,
});

/** The sets of characters for generated values, by name. */
export const alphabets = {
  alphanumeric: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
  lowercase: 'abcdefghijklmnopqrstuvwxyz',
  digits: '0123456789',
  hex: '0123456789abcdef',
  base64url: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
  ascii: String.fromCodePoint(...Array.from({ length: 94 }, (_, i) => 33 + i)),
} as const;

export const generateSecret = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:generate`,
  action: 'secret.generate',
  conditional: true,
  summary: 'Generate a random value and store it as the newest version. The answer does not show it.',
  statuses: [200, 201],
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
    .meta({ override: NOT_BOTH_EXPIRIES })
    .prefault({}),
  response: PutOutcome,
});

export const listVersions = endpoint({
  ...oneSecret,
  method: 'GET',
  path: `${SECRET_PATH}:versions`,
  action: 'secret.versions',
  summary: 'List the versions of a secret, the newest first: who wrote each, who read it last, and its state.',
  statuses: [200],
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

export const moveSecret = endpoint({
  ...oneSecret,
  method: 'POST',
  path: `${SECRET_PATH}:move`,
  action: 'secret.move',
  conditional: true,
  summary:
    'Move a secret with all its versions to another name, in this vault or another. References to the old name are not ' +
    'changed; the header `Cardea-Dependants` has the number of those that the caller may list. A condition applies to the secret at its old name.',
  statuses: [200],
  body: z.strictObject({ vault: PlainName.optional(), name: SecretName }),
  response: SecretSummary.extend({ vault: PlainName }),
});
