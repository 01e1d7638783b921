import { AppError } from '@cardea/contracts/errors';
import { unknownField } from '@cardea/contracts/unknown-field';

/** The query as an object. @throws AppError `invalid_request` for a parameter given twice or undecodable. */
export function parseQuery(url = ''): Record<string, string> {
  const mark = url.indexOf('?');
  if (mark < 0) return {};
  const text = url.slice(mark + 1);
  refuseOddQuery(text);
  const given = [...new URLSearchParams(text)];
  // Unlike an assignment, this also makes a field of `__proto__`, so the field can be refused.
  const query = Object.fromEntries(given);
  if (Object.keys(query).length < given.length) {
    throw new AppError('invalid_request', 'a query parameter is given twice', { suspicious: 'odd_query' });
  }
  // If a query may have names that the client chooses, zod skips this name and reports nothing.
  if (Object.hasOwn(query, '__proto__')) {
    throw new AppError('invalid_request', `query: ${unknownField('__proto__')}`);
  }
  return query;
}

// URLSearchParams replaces what it cannot decode by U+FFFD, and PostgreSQL accepts no NUL.
function refuseOddQuery(text: string): void {
  let decoded = '\0';
  try {
    decoded = decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
  }
  if (!/\p{Cc}/u.test(decoded)) return;
  throw new AppError('invalid_request', 'the query is not percent-encoded UTF-8 without control characters', {
    suspicious: 'odd_query',
  });
}
