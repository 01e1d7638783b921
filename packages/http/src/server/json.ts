import { AppError } from '@cardea/contracts/errors';

const DEPTH_MAX = 32;
const KEYS_MAX = 2_000;
/** Texts, brackets and commas. The largest body that an endpoint takes has a few thousand. */
const PARTS_MAX = 20_000;
/** Characters. The scan takes less than a millisecond for so many. */
const SLICE = 64 * 1024;

/**
 * Parses JSON as a security service must. It refuses what JSON.parse accepts silently (a duplicate key, of which the
 * last wins; `__proto__`) and what exhausts a process (nesting, thousands of keys, millions of values). The messages never
 * quote the input, which may be a secret.
 * @throws AppError `invalid_request`
 */
export function parseJson(text: string): unknown {
  const scanning = scan(text);
  while (!scanning.next().done);
  return parseScanned(text);
}

/**
 * The same for a long text. Others are let in between two slices of the scan and before JSON.parse, which takes 30 ms for
 * 12 MB at most.
 * @throws AppError `invalid_request`
 */
export async function parseLongJson(text: string, letOthersIn: () => Promise<void> | undefined): Promise<unknown> {
  const scanning = scan(text);
  while (!scanning.next().done) await letOthersIn();
  await letOthersIn();
  return parseScanned(text);
}

function parseScanned(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed('the body is not valid JSON');
  }
}

// One pass over the tokens that matter: brackets, commas, strings and the colon that makes a string a key.
// It does not check the grammar; JSON.parse does. It yields after each slice.
function* scan(text: string): Generator<void, void> {
  const objects: (Set<string> | undefined)[] = [];
  let keys = 0;
  let parts = 0;
  let slice = SLICE;
  for (let at = 0; at < text.length; at += 1) {
    if (at >= slice) {
      yield;
      slice = at + SLICE;
    }
    const char = text.charCodeAt(at);
    if (char === 0x7b || char === 0x5b || char === 0x2c || char === QUOTE) {
      parts += 1;
      if (parts > PARTS_MAX) throw malformed(`the body has more than ${PARTS_MAX} texts, brackets and commas`);
    }
    if (char === 0x7b || char === 0x5b) {
      objects.push(char === 0x7b ? new Set() : undefined);
      if (objects.length > DEPTH_MAX) throw malformed(`the body is nested deeper than ${DEPTH_MAX} levels`);
    } else if (char === 0x7d || char === 0x5d) {
      objects.pop();
    } else if (char === QUOTE) {
      const end = yield* endOfString(text, at);
      if (followedByColon(text, end)) {
        keys += 1;
        if (keys > KEYS_MAX) throw malformed(`the body has more than ${KEYS_MAX} keys`);
        addKey(objects.at(-1), text.slice(at, end));
      }
      at = end - 1;
    }
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The index after the closing quote, or the end of the text if there is none. */
function* endOfString(text: string, start: number): Generator<void, number> {
  for (let at = start + 1; ;) {
    // A body is mostly one long string, and indexOf searches it many times as fast as a loop does.
    const quote = text.indexOf('"', at);
    if (quote < 0) return text.length;
    if (!isEscaped(text, quote)) return quote + 1;
    // Behind an escaped quote there may be a million more, and a call for each takes longer than a loop.
    at = quote + 1;
    for (const end = Math.min(at + SLICE, text.length); at < end; at += 1) {
      const char = text.charCodeAt(at);
      if (char === QUOTE) return at + 1;
      if (char === BACKSLASH) at += 1;
    }
    yield;
  }
}

// A quote behind an odd number of backslashes belongs to the string.
function isEscaped(text: string, quote: number): boolean {
  let at = quote;
  while (text.charCodeAt(at - 1) === BACKSLASH) at -= 1;
  return (quote - at) % 2 === 1;
}

function followedByColon(text: string, from: number): boolean {
  let at = from;
  for (let char = text.charCodeAt(at); isBlank(char); char = text.charCodeAt(at)) at += 1;
  return text[at] === ':';
}

function isBlank(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09;
}

function addKey(object: Set<string> | undefined, quoted: string): void {
  const key = unquote(quoted);
  if (key === '__proto__') throw malformed('the body has a key that is not allowed');
  if (object?.has(key)) throw malformed('the body has the same key twice');
  object?.add(key);
}

// "a" and "\u0061" are the same key.
function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    throw malformed('the body is not valid JSON');
  }
}

function malformed(message: string): AppError {
  return new AppError('invalid_request', message, { suspicious: 'malformed_json' });
}
