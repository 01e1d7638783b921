import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PlainName, SecretName, Time } from './names.ts';
import { VaultParams } from './vaults.ts';

/** The most bytes a secret's value may have. */
export const SECRET_BYTES_MAX = 8_192;

export const SecretParams = z.object({ vault: PlainName, name: SecretName });

const Encoding = z.enum(['utf8', 'base64']);
const ContentType = z
  .string()
  .regex(/^[\w.+-]+\/[\w.+-]+(; ?[\w-]+=[\w-]+)*$/, 'must be a media type')
  .max(128);
const Version = z.int().positive();

/** A value as text, or as base64 of its bytes. Text must be well formed: a lone surrogate would not come back as it was. */
const SecretInput = z
  .strictObject({ value: z.string(), encoding: Encoding.default('utf8'), contentType: ContentType.optional() })
  .superRefine(({ value, encoding }, context) => {
    if (encoding === 'base64' && !z.base64().safeParse(value).success) {
      context.addIssue({ code: 'custom', path: ['value'], message: 'is not standard base64' });
    } else if (encoding === 'utf8' && !value.isWellFormed()) {
      context.addIssue({ code: 'custom', path: ['value'], message: 'is not well-formed text' });
    } else if (byteLength(value, encoding) > SECRET_BYTES_MAX) {
      const message = `is larger than ${SECRET_BYTES_MAX} bytes`;
      context.addIssue({ code: 'custom', path: ['value'], message, params: { tooLarge: true } });
    }
  });

function byteLength(value: string, encoding: 'utf8' | 'base64'): number {
  return Buffer.byteLength(value, encoding);
}

export const putSecret = endpoint({
  method: 'PUT',
  path: '/api/v1/vaults/{vault}/secrets/{+name}',
  action: 'secret.write',
  summary: 'Store a value as the newest version. The identical value again makes no version.',
  auth: 'bearer',
  statuses: [200, 201],
  params: SecretParams,
  query: z.strictObject({}),
  body: SecretInput,
  response: z.strictObject({ name: SecretName, version: Version, changed: z.boolean(), createdAt: Time }),
});

export const getSecret = endpoint({
  method: 'GET',
  path: '/api/v1/vaults/{vault}/secrets/{+name}',
  action: 'secret.read',
  summary: 'Read one version of a secret, the newest unless a version is named.',
  auth: 'bearer',
  statuses: [200],
  params: SecretParams,
  query: z.strictObject({ version: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional() }),
  body: z.undefined(),
  response: z.strictObject({
    name: SecretName,
    version: Version,
    value: z.string(),
    encoding: Encoding,
    contentType: ContentType.optional(),
    createdAt: Time,
  }),
});

export const listSecrets = endpoint({
  method: 'GET',
  path: '/api/v1/vaults/{vault}/secrets',
  action: 'secret.list',
  summary: 'Names of secrets, never their values, in the order of their names.',
  auth: 'bearer',
  statuses: [200],
  params: VaultParams,
  query: Page.extend({ prefix: z.string().max(512).optional() }),
  body: z.undefined(),
  response: z.strictObject({
    items: z.array(z.strictObject({ name: SecretName, version: Version, createdAt: Time, updatedAt: Time })),
    nextCursor: z.string().optional(),
  }),
});
