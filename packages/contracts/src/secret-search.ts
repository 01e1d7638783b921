import { z } from 'zod';
import { endpoint } from './endpoint.ts';
import { Page, PageOf, PlainName } from './names.ts';
import { Metadata, SearchText, SecretSummary } from './secrets.ts';

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
