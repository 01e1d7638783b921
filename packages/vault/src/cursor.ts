import { AppError } from '@cardea/contracts/errors';
import { sha256Hex } from '@cardea/crypto/ids';

/**
 * Which list a cursor belongs to: its name, and everything that narrows it or gives it another order. `undefined` is no
 * filter. Without the list, the position of one list would be a position somewhere in another.
 */
export type ListId = readonly [name: string, ...narrowedBy: (string | number | boolean | undefined)[]];

/** The keys of an item, in the order of its list. */
export type CursorKeys = readonly (string | number)[];

declare const made: unique symbol;
/** The position of a page in a list. Only `toCursor` makes one, so no list hands out a bare key. */
export type Cursor = string & { readonly [made]: true };

/** The position after an item, for a client to send back. It hides nothing: the client must be allowed to see the keys. */
export function toCursor(list: ListId, keys: CursorKeys): Cursor {
  return Buffer.from(JSON.stringify([tagOf(list), ...keys])).toString('base64url') as Cursor;
}

/**
 * The keys that `toCursor` encoded for the same list, or `start` without a cursor. They must have the shape of `start`:
 * the same number of keys, with texts and integers (0 or more) at the same positions.
 * @throws AppError `invalid_request` for a cursor of another list
 */
export function fromCursor<P extends CursorKeys>(list: ListId, cursor: string | undefined, start: P): P {
  if (cursor === undefined || cursor === '') return start;
  const parts = parse(cursor);
  if (Array.isArray(parts) && parts.length === start.length + 1) {
    const keys = parts.slice(1) as unknown as P;
    const isValid = start.every((key, i) => isLike(keys[i], key));
    // Each position has one encoding. Another text that decodes to the same keys was not made by `toCursor`.
    if (isValid && toCursor(list, keys) === cursor) return keys;
  }
  const message = 'is not a cursor of this list: repeat the call without it, or with the parameters of the page before';
  throw new AppError('invalid_request', `query.cursor: ${message}`, { errors: [{ path: 'query.cursor', message }] });
}

// Short, so that a cursor with a long name fits into a URL.
function tagOf(list: ListId): string {
  return sha256Hex(JSON.stringify(list)).slice(0, 16);
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
