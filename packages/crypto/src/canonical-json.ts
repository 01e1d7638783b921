const DEPTH_MAX = 32;
// Printable ASCII without the quote and the backslash: written as it is. Nearly all text is, and
// finding it out is cheaper than calling JSON.stringify.
const PLAIN = /^[ !#-[\]-~]*$/;
const ASCII = /^[\0-\x7f]*$/;

/** A value outside the restricted profile; the message says which rule, and never shows the value. */
export class CanonicalJsonError extends Error {
  override name = 'CanonicalJsonError';
}

/**
 * The one text of a JSON value: JCS, RFC 8785, in the restricted profile of the audit log. What does
 * not fit is refused with CanonicalJsonError, never dropped or rounded: null, undefined (as a property
 * too), fractions, integers beyond ±(2^53-1), bigints, functions, symbols, lone surrogates, keys
 * outside ASCII, objects that are not plain, and more than 32 arrays and objects inside each other.
 */
export function canonicalize(value: unknown): string {
  return write(value, DEPTH_MAX);
}

function write(value: unknown, depthLeft: number): string {
  if (typeof value === 'string') return writeString(value);
  if (typeof value === 'number') return writeInteger(value);
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'object') return writeContainer(value, depthLeft);
  throw new CanonicalJsonError(`a value may not be ${typeof value}`);
}

// RFC 8785 section 3.2.2.2 took its escapes from ECMAScript, so for well-formed text they are the same.
function writeString(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  if (!text.isWellFormed()) throw new CanonicalJsonError('text may not hold a lone surrogate');
  return JSON.stringify(text);
}

function writeInteger(value: number): string {
  if (!Number.isSafeInteger(value)) throw new CanonicalJsonError('a number must be an integer within ±(2^53-1)');
  return String(value);
}

function writeContainer(value: object | null, depthLeft: number): string {
  if (value === null) throw new CanonicalJsonError('a value may not be null');
  if (depthLeft === 0) throw new CanonicalJsonError(`nested deeper than ${DEPTH_MAX}`);
  if (Array.isArray(value)) return writeArray(value, depthLeft - 1);
  if (!isPlain(value)) throw new CanonicalJsonError('an object must be plain');
  return writeObject(value, depthLeft - 1);
}

function writeArray(items: readonly unknown[], depthLeft: number): string {
  let out = '';
  for (const item of items) out += (out ? ',' : '') + write(item, depthLeft);
  return `[${out}]`;
}

function writeObject(value: Record<string, unknown>, depthLeft: number): string {
  // The default order of sort is that of UTF-16 code units, RFC 8785 section 3.2.3.
  let out = '';
  for (const key of Object.keys(value).sort()) {
    out += `${out ? ',' : ''}${writeKey(key)}:${write(value[key], depthLeft)}`;
  }
  return `{${out}}`;
}

function writeKey(key: string): string {
  if (PLAIN.test(key)) return `"${key}"`;
  if (!ASCII.test(key)) throw new CanonicalJsonError('a key must be ASCII');
  return JSON.stringify(key);
}

// The root prototype of any realm, since objects may come from another one, such as a worker's.
function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false;
  return Object.getOwnPropertySymbols(value).length === 0;
}
