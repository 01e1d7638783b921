import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { NOT_BOTH_EXPIRIES, PlainName, SecretName, SecretPrefix } from '../names.ts';
import {
  PutOutcome,
  SECRETS_PATH,
  SecretValue,
  allSecrets,
  checkExpiry,
  checkValue,
  putFields,
} from './secret-shapes.ts';

/** The most secrets that one call reads or writes. */
export const BATCH_MAX = 100;

/**
 * The most bytes in the body of a batch write: a value of 8 KiB in base64 for each secret, and ample room for the rest.
 */
export const BATCH_BYTES_MAX = 2 * 1024 * 1024;

/** The most secrets that one call deletes, moves, imports or exports. */
export const BULK_MAX = 1_000;

/** The most bytes in the body of a deletion by names. */
export const BULK_NAMES_BYTES_MAX = 1024 * 1024;

/**
 * The most versions that one call moves. Each is opened and sealed again, and other writers wait meanwhile. Twice as
 * many, with values of 4 KiB, took 1.1 s on SQLite and 7 s on PostgreSQL, on two busy cores.
 */
export const MOVE_VERSIONS_MAX = 5_000;

/** Refuses a name that is given twice. `below` is the path of the name in an item. */
function refuseTwice(names: string[], context: z.RefinementCtx, below: string[] = []): void {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (seen.has(name)) context.addIssue({ code: 'custom', path: [index, ...below], message: 'is named twice' });
    seen.add(name);
  }
}

const Names = (max: number) =>
  z
    .array(SecretName)
    .min(1)
    .max(max)
    .superRefine((names, context) => refuseTwice(names, context))
    .meta({ override: { uniqueItems: true } });

export const batchRead = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:batchRead`,
  action: 'secret.read',
  summary:
    'Read several secrets, all or nothing. The values are of one point in time. Each gets an audit record. References are followed.',
  statuses: [200],
  body: z.strictObject({ names: Names(BATCH_MAX) }),
  response: z.strictObject({ items: z.array(SecretValue) }),
});

const BatchItem = z
  .strictObject({ name: SecretName, ...putFields })
  .superRefine(checkValue)
  .superRefine(checkExpiry)
  .meta({ override: NOT_BOTH_EXPIRIES });

export const batchWrite = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:batchWrite`,
  action: 'secret.write',
  summary: 'Write several secrets in one transaction, all or nothing. Each gets an audit record.',
  statuses: [200],
  body: z.strictObject({
    secrets: z
      .array(BatchItem)
      .min(1)
      .max(BATCH_MAX)
      .superRefine((secrets, context) =>
        refuseTwice(
          secrets.map(({ name }) => name),
          context,
          ['name'],
        ),
      ),
  }),
  response: z.strictObject({ items: z.array(PutOutcome) }),
});

export const deleteSecrets = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:delete`,
  action: 'secret.delete',
  summary:
    'Put several secrets into the trash, by their names or by a prefix. A dry run lists them and changes nothing.',
  statuses: [200],
  body: z
    .strictObject({
      names: Names(BULK_MAX).optional(),
      prefix: SecretPrefix.optional(),
      dryRun: z.boolean().default(false),
    })
    .refine(
      ({ names, prefix }) => (names === undefined) !== (prefix === undefined),
      'must have either names or a prefix',
    )
    .meta({ override: { oneOf: [{ required: ['names'] }, { required: ['prefix'] }] } }),
  response: z.strictObject({
    items: z.array(
      z.strictObject({
        name: SecretName,
        /** How many references point to it, from secrets that are not deleted. */
        dependants: z.int().min(0),
      }),
    ),
    dryRun: z.boolean(),
  }),
});

export const moveSecrets = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:move`,
  action: 'secret.move',
  summary:
    'Move all secrets under a prefix, including those in the trash, to another prefix or vault in one transaction. ' +
    'References to the old names are not changed; the header `Cardea-Dependants` has the number of those that the ' +
    'caller may list.',
  statuses: [200],
  body: z.strictObject({
    prefix: SecretPrefix,
    vault: PlainName.optional(),
    /** Replaces the prefix in the names. */
    toPrefix: SecretPrefix,
    dryRun: z.boolean().default(false),
  }),
  response: z.strictObject({
    items: z.array(z.strictObject({ name: SecretName, toName: SecretName })),
    dryRun: z.boolean(),
  }),
});
