import { AppError } from '@cardea/contracts/errors';

/** Where the next page begins, in a list whose order is not that of one column: the keys of the last item. */
export type CursorKeys = readonly (string | number)[];

/** Says where the next page begins, for a client to hand back. Hides nothing: what stands in it must be theirs to see. */
export function toCursor(place: CursorKeys): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/**
 * What `toCursor` was given, if it was of the same shape as `first`: texts and numbers from 0 on, in that order.
 * @throws AppError `invalid_request`
 */
export function fromCursor<P extends CursorKeys>(cursor: string, first: P): P {
  const place = parse(cursor);
  const isPlace =
    Array.isArray(place) && place.length === first.length && first.every((key, i) => isLike(place[i], key));
  // One place has one spelling, so whatever else decodes to it was not made here.
  if (isPlace && toCursor(place) === cursor) return place as unknown as P;
  const message = 'is not one of this list';
  throw new AppError('invalid_request', `query.cursor: ${message}`, { errors: [{ path: 'query.cursor', message }] });
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch (error) {
    if ((error as Error).name === 'SyntaxError') return undefined;
    throw error;
  }
}

// PostgreSQL takes no NUL and no lone surrogate.
function isLike(found: unknown, expected: string | number): boolean {
  if (typeof expected === 'number') return Number.isSafeInteger(found) && (found as number) >= 0;
  return typeof found === 'string' && found.isWellFormed() && !found.includes('\0');
}
