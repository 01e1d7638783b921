import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { SecretName, SecretPrefix } from '../names.ts';
import { SECRETS_PATH, allSecrets, byteLength, checkValue, valueFields } from './secret-shapes.ts';

export const documentFormats = ['dotenv', 'json', 'yaml'] as const;

/** The most bytes of a document in UTF-8. */
export const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024;

/** The most bytes of a request with a document. An escape in JSON can turn two bytes of the document into six. */
export const DOCUMENT_BODY_BYTES_MAX = 3 * DOCUMENT_BYTES_MAX + 4_096;

const Format = z.enum(documentFormats);

/** `db` covers `db` and all names under `db/`, as in grants. If there is no prefix, the whole vault is covered. */
const Prefix = SecretPrefix.optional();

/** The options of one secret in a document, as in a PUT. */
export const DocumentSecret = z.strictObject({ name: SecretName, ...valueFields }).superRefine(checkValue);

export const importSecrets = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:import`,
  action: 'secret.import',
  summary:
    'Write the secrets of a document in one transaction: up to 1,000 secrets and 4 MiB. Each gets an audit record. If one ' +
    'is refused, nothing is written, and `errors` names the line of each refused secret. A dry run writes nothing and ' +
    'tells what an import would do. It says `updated` also for a value that would not change.',
  statuses: [200],
  body: z.strictObject({
    format: Format,
    content: z.string().superRefine(checkSize),
    /** The names in the document are relative to this prefix. */
    prefix: Prefix,
    dryRun: z.boolean().default(false),
  }),
  response: z.strictObject({
    items: z.array(
      z.strictObject({
        name: z.string(),
        /** `refused` only in a dry run; `unchanged` never in a dry run. */
        result: z.enum(['created', 'updated', 'unchanged', 'refused']),
        /** The version that was written. Left out in a dry run. */
        version: z.int().positive().optional(),
        /** Why the secret would be refused. Then an import would write nothing. */
        reason: z.string().optional(),
      }),
    ),
    dryRun: z.boolean(),
  }),
});

function checkSize(content: string, context: z.RefinementCtx): void {
  if (byteLength(content, 'utf8') <= DOCUMENT_BYTES_MAX) return;
  const message = `is larger than ${DOCUMENT_BYTES_MAX} bytes`;
  context.addIssue({ code: 'custom', message, params: { tooLarge: true } });
}

export const exportSecrets = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:export`,
  action: 'secret.export',
  summary:
    'Export the newest values of a vault or of a prefix as one document: up to 1,000 secrets and 4 MiB. Only secrets that ' +
    'the caller may read and list are exported. Each gets an audit record. Values that have expired, are in the trash or ' +
    'were destroyed are left out. References are exported as they are and not followed. With `names: "shell"` an environment ' +
    'file calls `db/password` `DB_PASSWORD`; the answer is 409 if two secrets would have one name, and names both.',
  statuses: [200],
  body: z
    .strictObject({
      format: Format,
      /** The names in the document are relative to this prefix. `.` is the secret whose name is the prefix itself. */
      prefix: Prefix,
      names: z.enum(['paths', 'shell']).default('paths'),
    })
    .refine(({ format, names }) => names === 'paths' || format === 'dotenv', {
      path: ['names'],
      message: 'can be "shell" only with the format dotenv',
    })
    .meta({
      override: {
        anyOf: [{ properties: { format: { const: 'dotenv' } } }, { properties: { names: { const: 'paths' } } }],
      },
    }),
  response: z.strictObject({ format: Format, content: z.string(), count: z.int().min(0) }),
});
