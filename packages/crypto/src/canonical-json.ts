const DEPTH_MAX = 32;
const ASCII = /^[\0-\x7f]*$/;

/** A value outside the restricted profile. The message names the rule and never shows the value. */
export class CanonicalJsonError extends Error {
  override name = 'CanonicalJsonError';
}

/**
 * Writes a JSON value as its one canonical text: JCS, RFC 8785, in the restricted profile of the audit log. Nothing is
 * dropped or rounded.
 * @throws CanonicalJsonError for null, undefined (also as a property), fractions, integers beyond ±(2^53-1), bigints,
 * functions, symbols, lone surrogates, keys outside ASCII, objects that are not plain, and more than 32 nested levels
 */
export function canonicalize(value: unknown): string {
  // The text of RFC 8785 is that of ECMAScript, except for the order of keys. So if the keys are already in order, as
  // after parsing a canonical text, JSON.stringify writes the same text in half the time.
  return isInOrder(value, DEPTH_MAX) ? JSON.stringify(value) : write(value);
}

/** True if the keys are in order at every depth. @throws CanonicalJsonError for a value outside the profile */
function isInOrder(value: unknown, depthLeft: number): boolean {
  if (typeof value === 'string') return requireWellFormed(value);
  if (typeof value === 'number') return requireInteger(value);
  if (typeof value === 'boolean') return true;
  if (typeof value !== 'object') throw new CanonicalJsonError(`a value may not be ${typeof value}`);
  if (value === null) throw new CanonicalJsonError('a value may not be null');
  if (depthLeft === 0) throw new CanonicalJsonError(`nested deeper than ${DEPTH_MAX}`);
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    throw new CanonicalJsonError('a value may not have a toJSON method');
  }
  if (Array.isArray(value)) return areInOrder(value, depthLeft - 1);
  if (!isPlain(value)) throw new CanonicalJsonError('an object must be plain');
  return hasKeysInOrder(value, depthLeft - 1);
}

function areInOrder(items: readonly unknown[], depthLeft: number): boolean {
  let inOrder = true;
  for (const item of items) inOrder = isInOrder(item, depthLeft) && inOrder;
  return inOrder;
}

function hasKeysInOrder(value: Record<string, unknown>, depthLeft: number): boolean {
  let inOrder = true;
  let before = '';
  for (const key of Object.keys(value)) {
    if (!ASCII.test(key)) throw new CanonicalJsonError('a key must be ASCII');
    // `<=`, because the first key may be empty. Strings compare by UTF-16 code units, as in RFC 8785 section 3.2.3.
    inOrder = isInOrder(value[key], depthLeft) && before <= key && inOrder;
    before = key;
  }
  return inOrder;
}

function requireWellFormed(text: string): true {
  if (!text.isWellFormed()) throw new CanonicalJsonError('text may not hold a lone surrogate');
  return true;
}

function requireInteger(value: number): true {
  if (!Number.isSafeInteger(value)) throw new CanonicalJsonError('a number must be an integer within ±(2^53-1)');
  return true;
}

// Accepts the root prototype of any realm, because an object may come from another one, such as a worker's.
function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return false;
  return Object.getOwnPropertySymbols(value).length === 0;
}

// The value already fits the profile. Sorting the keys of a copy would not work: an object keeps keys like "10" first.
function write(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const object = value as Record<string, unknown>;
  const members = Object.keys(object)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${write(object[key])}`);
  return `{${members.join(',')}}`;
}
