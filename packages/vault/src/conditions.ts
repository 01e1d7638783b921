import { AppError } from '@cardea/contracts/errors';

/** What a client knows of the secret, as entity tags without their quotes; `*` is any (RFC 9110 section 13.1). */
export interface Conditions {
  ifMatch?: '*' | string[];
  ifNoneMatch?: '*' | string[];
}

interface ConditionalHeaders {
  'if-match'?: string | undefined;
  'if-none-match'?: string | undefined;
}

/** @throws AppError `invalid_request` for what is no entity tag */
export function parseConditions(headers: ConditionalHeaders): Conditions {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  return {
    ...(match === undefined ? {} : { ifMatch: parseTags('If-Match', match, { weak: false }) }),
    ...(noneMatch === undefined ? {} : { ifNoneMatch: parseTags('If-None-Match', noneMatch, { weak: true }) }),
  };
}

// If-Match compares strongly, and then a weak tag never matches: better said than silently refused.
function parseTags(field: string, text: string, { weak }: { weak: boolean }): '*' | string[] {
  if (text.trim() === '*') return '*';
  const pattern = weak ? /^(?:W\/)?"([\x21\x23-\x7e]*)"$/ : /^"([\x21\x23-\x7e]*)"$/;
  // A list may have empty elements (section 5.6.1).
  const parts = text.split(',').filter((part) => part.trim() !== '');
  const tags = parts.map((part) => pattern.exec(part.trim())?.[1]).filter((tag) => tag !== undefined);
  if (tags.length > 0 && tags.length === parts.length) return tags;
  throw new AppError('invalid_request', `${field}: must be * or entity tags in quotes, such as "3"`);
}

/** @throws AppError `precondition_failed` unless a write may go on; `current` is the newest version that can be seen. */
export function requireConditions(conditions: Conditions, current: number | undefined): void {
  const tag = current === undefined ? undefined : String(current);
  requireMatch({ ...conditions, ...ownVersions(conditions.ifMatch) }, tag);
  const { ifNoneMatch } = conditions;
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, tag)) {
    throw failed(`the secret is there, in version ${tag}`, 'if-none-match');
  }
}

/** @throws AppError `precondition_failed` if the client wants another one than what is there. */
export function requireMatch({ ifMatch }: Conditions, tag: string | undefined): void {
  if (ifMatch === undefined || matches(ifMatch, tag)) return;
  throw failed(tag === undefined ? 'there is no such secret' : `the version is ${tag}`, 'if-match');
}

/** Whether the client has what it asks for already. */
export function isKnown({ ifNoneMatch }: Conditions, tag: string): boolean {
  return ifNoneMatch !== undefined && matches(ifNoneMatch, tag);
}

function matches(tags: '*' | string[], tag: string | undefined): boolean {
  return tag !== undefined && (tags === '*' || tags.includes(tag));
}

// Of a reference that was followed the tag goes on with what it led to ("3-7"); a write is about the reference itself.
function ownVersions(tags: Conditions['ifMatch']): Conditions {
  if (tags === undefined || tags === '*') return {};
  return { ifMatch: tags.map((tag) => tag.replace(/^(\d+)-.*$/, '$1')) };
}

function failed(message: string, rule: string): AppError {
  return new AppError('precondition_failed', message, { rule });
}
