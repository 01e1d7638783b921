import { AppError } from '@cardea/contracts/errors';

const DEPTH_MAX = 32;
const KEYS_MAX = 2_000;

/**
 * Parses JSON as a security service must. It refuses what JSON.parse accepts silently (a duplicate key, of which the
 * last wins; `__proto__`) and what exhausts a process (nesting, thousands of keys). The messages never quote the input,
 * which may be a secret.
 * @throws AppError `invalid_request`
 */
export function parseJson(text: string): unknown {
  scan(text);
  try {
    return JSON.parse(text);
  } catch {
    throw malformed('the body is not valid JSON');
  }
}

// One pass over the tokens that matter: brackets, strings and the colon that makes a string a key.
// It does not check the grammar; JSON.parse does.
function scan(text: string): void {
  const objects: (Set<string> | undefined)[] = [];
  let keys = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 0x7b || char === 0x5b) {
      objects.push(char === 0x7b ? new Set() : undefined);
      if (objects.length > DEPTH_MAX) throw malformed(`the body is nested deeper than ${DEPTH_MAX} levels`);
    } else if (char === 0x7d || char === 0x5d) {
      objects.pop();
    } else if (char === 0x22) {
      const end = endOfString(text, at);
      if (followedByColon(text, end)) {
        keys += 1;
        if (keys > KEYS_MAX) throw malformed(`the body has more than ${KEYS_MAX} keys`);
        addKey(objects.at(-1), text.slice(at, end));
      }
      at = end - 1;
    }
  }
}

/** The index after the closing quote, or the end of the text if there is none. */
function endOfString(text: string, start: number): number {
  // A body is mostly one long string, and indexOf searches it many times as fast as a loop does.
  let quote = text.indexOf('"', start + 1);
  while (quote > 0 && isEscaped(text, quote)) quote = text.indexOf('"', quote + 1);
  return quote < 0 ? text.length : quote + 1;
}

// A quote behind an odd number of backslashes belongs to the string.
function isEscaped(text: string, quote: number): boolean {
  let at = quote;
  while (text.charCodeAt(at - 1) === 0x5c) at -= 1;
  return (quote - at) % 2 === 1;
}

function followedByColon(text: string, from: number): boolean {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return text[at] === ':';
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
