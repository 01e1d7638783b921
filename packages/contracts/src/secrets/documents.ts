import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { SecretName } from '../names.ts';
import { SECRETS_PATH, allSecrets, byteLength, checkValue, valueFields } from './secret-shapes.ts';

export const documentFormats = ['dotenv', 'json', 'yaml'] as const;

/** How many bytes of UTF-8 a document has at most. */
export const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024;

/** A request that carries one. In its JSON a document may be longer: two bytes of it become six as an escape. */
export const DOCUMENT_BODY_BYTES_MAX = 3 * DOCUMENT_BYTES_MAX + 4_096;

const Format = z.enum(documentFormats);

/** `db` covers `db` and everything below `db/`, as in grants; without one, the whole vault. */
const Prefix = SecretName.optional();

/** What a document says of one secret, by the rules of a PUT. */
export const DocumentSecret = z.strictObject({ name: SecretName, ...valueFields }).superRefine(checkValue);

export const importSecrets = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:import`,
  action: 'secret.import',
  summary:
    'Write the secrets of a document, up to 1,000 in 4 MiB, in one transaction, with one audit record each. If one of ' +
    'them is refused nothing is written, and `errors` says the line of each. A dry run says what would become of each, ' +
    'and `updated` also of a value that is there already.',
  statuses: [200],
  body: z.strictObject({
    format: Format,
    content: z.string().superRefine(checkSize),
    /** What the names in the document stand below. */
    prefix: Prefix,
    dryRun: z.boolean().default(false),
  }),
  response: z.strictObject({
    items: z.array(
      z.strictObject({
        name: z.string(),
        /** `refused` in a dry run only, `unchanged` never in one. */
        result: z.enum(['created', 'updated', 'unchanged', 'refused']),
        /** Not in a dry run. */
        version: z.int().positive().optional(),
        /** Why it would be refused, and nothing of the document written. */
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
    'The newest values of a vault, or of what is under a prefix, that the caller may read and list, as one document of up to ' +
    '1,000 secrets and 4 MiB, with one audit record each. What has ended, is in the trash or was destroyed is left out; ' +
    'a reference is exported as itself.',
  statuses: [200],
  body: z.strictObject({
    format: Format,
    /** The names in the document are relative to it; `.` is the secret that is called so itself. */
    prefix: Prefix,
  }),
  response: z.strictObject({ format: Format, content: z.string(), count: z.int().min(0) }),
});
