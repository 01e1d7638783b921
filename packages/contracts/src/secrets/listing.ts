import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { Page, PageOf, PlainName, QueryText, Time } from '../names.ts';
import { unknownField } from '../unknown-field.ts';
import { Metadata, MetadataValue, SECRETS_PATH, SecretSummary, allSecrets } from './secret-shapes.ts';

/** The words of a search. Separators alone are not a word. */
export const SearchText = QueryText({ max: 128 })
  .min(1)
  .regex(/[^\s/._-]/, 'must contain a letter or a digit');

export const listSecrets = endpoint({
  ...allSecrets,
  method: 'GET',
  path: SECRETS_PATH,
  action: 'secret.list',
  summary:
    'List the secrets of a vault without their values, by name. `q` and `expiringBefore` have an order of their own and ' +
    'cannot be combined with other filters. The trash (`deleted=true`) cannot be combined with `delimiter`. With `q`, and ' +
    'with `expiringBefore` under a path prefix, a page may be shorter than `limit` although it has a `nextCursor`.',
  statuses: [200],
  query: Page.extend({
    prefix: QueryText({ max: 512 }).optional(),
    /** Folds all names with another `/` after the prefix into one item with a `prefix`. */
    delimiter: z.literal('/').optional(),
    /** Beginnings of words. A name must have all of them. The order is that of the words found. */
    q: SearchText.optional(),
    /** Lists the trash instead. */
    deleted: z.enum(['true', 'false']).default('false'),
    /** Lists secrets that expire before this time, the soonest first. Includes secrets that have expired already. */
    expiringBefore: Time.optional(),
  }).superRefine(checkCombination),
  body: z.undefined(),
  response: PageOf(z.union([SecretSummary, z.strictObject({ prefix: z.string() })])),
});

interface Filters {
  prefix?: unknown;
  delimiter?: unknown;
  q?: unknown;
  deleted: string;
  expiringBefore?: unknown;
}

/** Refuses filters that cannot be combined: each kind of list has its own order. */
function checkCombination(query: Filters, context: z.RefinementCtx): void {
  const deleted = query.deleted === 'true' ? true : undefined;
  const { prefix, delimiter, q, expiringBefore } = query;
  refuseBeside(context, 'q', q, { prefix, delimiter, deleted, expiringBefore });
  refuseBeside(context, 'expiringBefore', expiringBefore, { prefix, delimiter, deleted });
  refuseBeside(context, 'deleted', deleted, { delimiter });
}

function refuseBeside(context: z.RefinementCtx, name: string, value: unknown, others: Record<string, unknown>): void {
  const beside = Object.keys(others).filter((other) => others[other] !== undefined);
  if (value === undefined || beside.length === 0) return;
  context.addIssue({ code: 'custom', path: [name], message: `cannot be combined with ${beside.join(' and ')}` });
}

/** The most metadata keys in one search. */
export const SEARCH_LABELS_MAX = 8;

const LABEL = 'metadata.';

export const searchSecrets = endpoint({
  method: 'GET',
  path: '/api/v1/secrets',
  action: 'secret.search',
  summary:
    'Search for secrets by words of the name and by metadata (`metadata.<key>=<value>`, up to 8) in every vault that the ' +
    'caller may list. A secret must match all of them. A page may be shorter than `limit` although it has a `nextCursor`.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: Page.extend({
    /** Beginnings of words of the name. */
    q: SearchText.optional(),
  })
    .catchall(z.string())
    .superRefine(checkCriteria),
  freeQuery: z.object({
    'metadata.key': MetadataValue.optional().meta({
      description: `The value of the metadata \`key\`. Any other key may stand there, up to ${SEARCH_LABELS_MAX}.`,
    }),
  }),
  body: z.undefined(),
  response: PageOf(SecretSummary.extend({ vault: PlainName })),
});

/** The metadata in the query of a search. */
export function labelsOf(query: Record<string, unknown>): [key: string, value: string][] {
  return Object.entries(query)
    .filter(([name]) => name.startsWith(LABEL))
    .map(([name, value]) => [name.slice(LABEL.length), String(value)]);
}

function checkCriteria(query: Record<string, unknown>, context: z.RefinementCtx): void {
  const refuse = (message: string) => context.addIssue({ code: 'custom', message });
  const known = new Set(['limit', 'cursor', 'q']);
  const labels = labelsOf(query);
  const unknown = Object.keys(query).find((name) => !known.has(name) && !name.startsWith(LABEL));
  if (unknown !== undefined) {
    refuse(unknownField(unknown));
  } else if (query['q'] === undefined && labels.length === 0) {
    refuse('must have q or metadata.<key>');
  } else if (labels.length > SEARCH_LABELS_MAX) {
    refuse(`must have at most ${SEARCH_LABELS_MAX} parameters metadata.<key>`);
  } else if (!Metadata.safeParse(Object.fromEntries(labels)).success) {
    refuse('must have metadata keys of 1 to 128 characters and values of 1 to 512');
  }
}
