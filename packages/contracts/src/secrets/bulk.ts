import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { PlainName, SecretName } from '../names.ts';
import {
  PutOutcome,
  SECRETS_PATH,
  SecretValue,
  allSecrets,
  checkExpiry,
  checkValue,
  putFields,
} from './secret-shapes.ts';

/** How many secrets one call reads or writes at once. */
export const BATCH_MAX = 100;

/** How many bytes the body of a batch of writes has at most: values of 8 KiB in base64 for all, and much beside them. */
export const BATCH_BYTES_MAX = 2 * 1024 * 1024;

/** How many secrets one call deletes, moves, imports or exports. */
export const BULK_MAX = 1_000;

/** How many bytes the body of a deletion by names has at most. */
export const BULK_NAMES_BYTES_MAX = 1024 * 1024;

/**
 * How many versions one call moves: each is opened and sealed again, and others wait to write meanwhile. Twice as many,
 * with values of 4 KiB, took 1.1 s on SQLite and 7 s on PostgreSQL, on two busy cores.
 */
export const MOVE_VERSIONS_MAX = 5_000;

/** Refuses a name that is given twice; `below` is where it stands in an item. */
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
    .superRefine((names, context) => refuseTwice(names, context));

export const batchRead = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:batchRead`,
  action: 'secret.read',
  summary:
    'Read several secrets as they are at one time, all or nothing, with one audit record each. References are followed.',
  statuses: [200],
  body: z.strictObject({ names: Names(BATCH_MAX) }),
  response: z.strictObject({ items: z.array(SecretValue) }),
});

const BatchItem = z
  .strictObject({ name: SecretName, ...putFields })
  .superRefine(checkValue)
  .superRefine(checkExpiry);

export const batchWrite = endpoint({
  ...allSecrets,
  method: 'POST',
  path: `${SECRETS_PATH}:batchWrite`,
  action: 'secret.write',
  summary: 'Write several secrets in one transaction, all or nothing, with one audit record each.',
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
    'Put secrets into the trash, by their names or all under a prefix. A dry run says which, and changes nothing.',
  statuses: [200],
  body: z
    .strictObject({
      names: Names(BULK_MAX).optional(),
      prefix: SecretName.optional(),
      dryRun: z.boolean().default(false),
    })
    .refine(({ names, prefix }) => (names === undefined) !== (prefix === undefined), 'takes names or a prefix'),
  response: z.strictObject({
    items: z.array(
      z.strictObject({
        name: SecretName,
        /** How many references of secrets that stay point to it. */
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
    'Move all secrets under a prefix, those in the trash too, to another prefix or vault, in one transaction. ' +
    '`Cardea-Dependants` says how many references point to the old names: they are not rewritten.',
  statuses: [200],
  body: z.strictObject({
    prefix: SecretName,
    vault: PlainName.optional(),
    /** What stands in the place of the prefix. */
    toPrefix: SecretName,
    dryRun: z.boolean().default(false),
  }),
  response: z.strictObject({
    items: z.array(z.strictObject({ name: SecretName, toName: SecretName })),
    dryRun: z.boolean(),
  }),
});
