import type { IncomingHttpHeaders } from 'node:http';
import type { Conditions } from '@cardea/contracts/conditions';
import type { Endpoint } from '@cardea/contracts/endpoint';
import { AppError } from '@cardea/contracts/errors';

/**
 * The conditions of a request to an endpoint that takes conditions; undefined for any other endpoint.
 * @throws AppError `invalid_request` for an invalid entity tag, and for a change with a condition if the endpoint takes
 * no condition
 */
export function conditionsOf(headers: IncomingHttpHeaders, endpoint: Endpoint): Conditions | undefined {
  if (endpoint.conditional) return parseConditions(headers);
  refuseUnheeded(headers, endpoint);
  return undefined;
}

/** @throws AppError `invalid_request` for an invalid entity tag */
export function parseConditions(headers: Pick<IncomingHttpHeaders, 'if-match' | 'if-none-match'>): Conditions {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  return {
    ...(match === undefined ? {} : { ifMatch: parseTags('If-Match', match, { weak: false }) }),
    ...(noneMatch === undefined ? {} : { ifNoneMatch: parseTags('If-None-Match', noneMatch, { weak: true }) }),
  };
}

// If-Match compares strongly, so a weak tag never matches. An error tells the client so; a 412 would not.
function parseTags(field: string, text: string, { weak }: { weak: boolean }): '*' | string[] {
  if (text.trim() === '*') return '*';
  const pattern = weak ? /^(?:W\/)?"([\x21\x23-\x7e]*)"$/ : /^"([\x21\x23-\x7e]*)"$/;
  // A list may have empty elements (section 5.6.1).
  const parts = text.split(',').filter((part) => part.trim() !== '');
  const tags = parts.map((part) => pattern.exec(part.trim())?.[1]).filter((tag) => tag !== undefined);
  if (tags.length > 0 && tags.length === parts.length) return tags;
  throw new AppError('invalid_request', `${field}: must be * or entity tags in quotes, such as "3"`);
}

function refuseUnheeded(headers: IncomingHttpHeaders, { method, auth }: Endpoint): void {
  // A read can overwrite nothing and may be answered in full (RFC 9110 section 13.1.2).
  const isSafe = method === 'GET' || method === 'HEAD';
  if (isSafe || auth === 'peer') return;
  const field = ['If-Match', 'If-None-Match'].find((name) => headers[name.toLowerCase()] !== undefined);
  if (field === undefined) return;
  throw new AppError('invalid_request', `${field}: this call takes no condition, so nothing was done`);
}
