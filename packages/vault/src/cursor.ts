import { AppError } from '@cardea/contracts/errors';
import { NO_CURSOR } from '@cardea/contracts/names';

/** The position of a page in a list that is ordered by more than one column: the keys of the last item. */
export type CursorKeys = readonly (string | number)[];

/** Encodes a position for a client to send back. It hides nothing: the client must be allowed to see all the keys. */
export function toCursor(keys: CursorKeys): string {
  return Buffer.from(JSON.stringify(keys)).toString('base64url');
}

/**
 * The keys that `toCursor` encoded. They must have the shape of `first`: the same number of keys, with texts and
 * integers (0 or more) at the same positions.
 * @throws AppError `invalid_request`
 */
export function fromCursor<P extends CursorKeys>(cursor: string, first: P): P {
  const keys = parse(cursor);
  const isValid = Array.isArray(keys) && keys.length === first.length && first.every((key, i) => isLike(keys[i], key));
  // Each position has one encoding. Another text that decodes to the same keys was not made by `toCursor`.
  if (isValid && toCursor(keys) === cursor) return keys as unknown as P;
  throw notACursor();
}

/** The refusal of a cursor that is none of the list's. */
export function notACursor(): AppError {
  const errors = [{ path: 'query.cursor', message: NO_CURSOR }];
  return new AppError('invalid_request', `query.cursor: ${NO_CURSOR}`, { errors });
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString());
  } catch (error) {
    if ((error as Error).name === 'SyntaxError') return undefined;
    throw error;
  }
}

// PostgreSQL accepts no NUL and no lone surrogate in a text.
function isLike(found: unknown, expected: string | number): boolean {
  if (typeof expected === 'number') return Number.isSafeInteger(found) && (found as number) >= 0;
  return typeof found === 'string' && found.isWellFormed() && !found.includes('\0');
}
