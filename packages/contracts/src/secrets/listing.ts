import { z } from 'zod';
import { endpoint } from '../endpoint.ts';
import { Page, PageOf, PlainName, Time } from '../names.ts';
import { Metadata, SECRETS_PATH, SecretSummary, allSecrets } from './secret-shapes.ts';

/** Words to look for. What only separates words is none. */
export const SearchText = z
  .string()
  .min(1)
  .max(128)
  .regex(/[^\s/._-]/, 'must have a letter or a digit');

export const listSecrets = endpoint({
  ...allSecrets,
  method: 'GET',
  path: SECRETS_PATH,
  action: 'secret.list',
  summary:
    'Names of secrets and their metadata, never their values, in the order of their names. `q` and `expiringBefore` have ' +
    'an order of their own and stand alone; in the trash (`deleted=true`) nothing is folded by `delimiter`. A page of `q`, ' +
    'and of `expiringBefore` where a path prefix hides a part, may be shorter than `limit` though there is a `nextCursor`.',
  statuses: [200],
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

/** How many keys of metadata one search looks for. */
export const SEARCH_LABELS_MAX = 8;

const LABEL = 'metadata.';

export const searchSecrets = endpoint({
  method: 'GET',
  path: '/api/v1/secrets',
  action: 'secret.search',
  summary:
    'Search by words of the name and by metadata (`metadata.<key>=<value>`, up to 8 of them) in every vault the caller ' +
    'may list. All that is asked for must be there. A page may be shorter than `limit` though there is a `nextCursor`.',
  auth: 'bearer',
  statuses: [200],
  params: z.undefined(),
  query: Page.extend({
    /** Begins of words of the name. */
    q: SearchText.optional(),
  })
    .catchall(z.string())
    .superRefine(checkCriteria),
  body: z.undefined(),
  response: PageOf(SecretSummary.extend({ vault: PlainName })),
});

/** The metadata that the query of a search asks for. */
export function labelsOf(query: Record<string, unknown>): [key: string, value: string][] {
  return Object.entries(query)
    .filter(([name]) => name.startsWith(LABEL))
    .map(([name, value]) => [name.slice(LABEL.length), String(value)]);
}

function checkCriteria(query: Record<string, unknown>, context: z.RefinementCtx): void {
  const refuse = (message: string) => context.addIssue({ code: 'custom', message });
  const known = new Set(['limit', 'cursor', 'q']);
  const labels = labelsOf(query);
  if (Object.keys(query).some((name) => !known.has(name) && !name.startsWith(LABEL))) {
    refuse('has a field that is not known here');
  } else if (query['q'] === undefined && labels.length === 0) {
    refuse('must have q or metadata.<key>');
  } else if (labels.length > SEARCH_LABELS_MAX) {
    refuse(`must have at most ${SEARCH_LABELS_MAX} of metadata.<key>`);
  } else if (!Metadata.safeParse(Object.fromEntries(labels)).success) {
    refuse('has a metadata.<key> that no secret can have: keys have 1 to 128 characters, values 1 to 512');
  }
}
