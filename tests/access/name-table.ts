/** A name for a secret, and what is special about it. */
export type Named = [what: string, name: string];

const segment = (length: number) => 'x'.repeat(length);
const longest = [segment(128), segment(128), segment(128), segment(125)].join('/');

/** Names that are stored and found unchanged. */
export const goodNames: Named[] = [
  ['one letter', 'a'],
  ['the same letter as a capital', 'A'],
  ['a digit', '0'],
  ['a hyphen', '-'],
  ['an underscore', '_'],
  ['an option', '-rf'],
  ['three dots', '...'],
  ['four dots', '....'],
  ['three dots twice', '.../...'],
  ['a leading dot', '.a'],
  ['a trailing dot', 'a.'],
  ['two leading dots', '..a'],
  ['two trailing dots', 'a..'],
  ['two dots in the middle', 'a..b'],
  ['segments of all allowed characters', 'A-b_c.d/0/E'],
  ['a file that tools look for', '.env'],
  ['a folder that tools look for', '.git/config'],
  ['a word of Cardea', 'secrets'],
  ['words of Cardea', 'a/secrets/b'],
  ['words of JavaScript', '__proto__/constructor'],
  ['a word of JavaScript', '__proto__'],
  ['a word of SQL', 'null'],
  ['a segment of 128', segment(128)],
  ['512 characters', longest],
  ['256 segments', segment(256).split('').join('/')],
];

/** Names under which nothing can be stored. */
export const badNames: Named[] = [
  ['nothing', ''],
  ['a dot', '.'],
  ['two dots', '..'],
  ['a leading dot segment', './a'],
  ['a leading segment of two dots', '../a'],
  ['a trailing dot segment', 'a/.'],
  ['a trailing segment of two dots', 'a/..'],
  ['a dot segment in the middle', 'a/./b'],
  ['a segment of two dots in the middle', 'a/../b'],
  ['a slash alone', '/'],
  ['a leading slash', '/a'],
  ['a trailing slash', 'a/'],
  ['two slashes', 'a//b'],
  ['a backslash', 'a\\b'],
  ['two dots and a backslash', '..\\a'],
  ['a colon', 'a:b'],
  ['a verb of Cardea', 'a:destroy'],
  ['an encoded slash', 'a%2Fb'],
  ['an encoded slash in lower case', 'a%2fb'],
  ['an encoded NUL', 'a%00'],
  ['encoded dots', '%2e%2e/a'],
  ['an encoded letter', '%61'],
  ['a slash that is encoded twice', 'a%252Fb'],
  ['an overlong encoding of a slash', 'a%c0%afb'],
  ['half an encoding', 'a%2'],
  ['no encoding', 'a%zz'],
  ['a blank', 'a b'],
  ['a leading space', ' a'],
  ['a trailing space', 'a '],
  ['a tab', 'a\tb'],
  ['a line feed', 'a\nb'],
  ['a trailing line feed', 'a\n'],
  ['a carriage return', 'a\rb'],
  ['a NUL', 'a\0b'],
  ['a delete', 'a\x7f'],
  ['a tilde', 'a~'],
  ['a leading tilde', '~root'],
  ['a semicolon', 'a;b'],
  ['a path parameter', 'a;version=1'],
  ['a question mark', 'a?b'],
  ['a query of Cardea', 'a?version=1'],
  ['a fragment', 'a#b'],
  ['an asterisk', 'a/*'],
  ['a plus', 'a+b'],
  ['an ampersand', 'a&b'],
  ['a comma', 'a,b'],
  ['a dollar and braces', '${a}'],
  ['braces', '{name}'],
  ['brackets', 'a[0]'],
  ['an at', 'a@b'],
  ['quotes', `'a"`],
  ['tags', '<a>'],
  ['a bar', 'a|b'],
  ['é as one character', 'caf\u00E9'],
  ['é as two characters', 'cafe\u0301'],
  ['a fullwidth letter', '\uFF41'],
  ['a fullwidth dot and slash', '\uFF0E\uFF0E\uFF0Fa'],
  ['a slash-like character', 'a\u2215b'],
  ['a zero-width space', 'a\u200Bb'],
  ['a zero-width joiner', 'a\u200Db'],
  ['a byte order mark', '\uFEFFa'],
  ['a soft hyphen', 'a\u00ADb'],
  ['a right-to-left override', '\u202Ea/b'],
  ['Cyrillic', '\u0430'],
  ['a character that becomes k in lower case', '\u212A'],
  ['a character that becomes S in upper case', '\u017F'],
  ['an emoji', '\u{1F511}'],
  ['a segment of 129', segment(129)],
  ['a trailing segment of 129', `a/${segment(129)}`],
  ['513 characters', `${longest}x`],
];

/** The part of a path after `…/secrets/`, byte for byte, and the result of a PUT to it. */
export interface OddPath {
  what: string;
  path: string;
  /** The name that stores it, or the status of the refusal. */
  comes: { stored: string } | number;
  /** Where nginx itself refuses with 400 what api-service would refuse with a record. */
  refusedByNginx?: true;
}

const ofRaw: Record<string, OddPath['comes']> = {
  // An empty name, and verbs that a PUT does not have.
  '': 404,
  'a:b': 404,
  'a:destroy': 405,
  // An extra space before the HTTP version is not part of the path.
  'a ': { stored: 'a' },
  // A second spelling of a slash, of which there is none in the body of a request.
  'a%2Fb': { stored: 'a/b' },
  'a%2fb': { stored: 'a/b' },
};
// nginx ends the path at a space or a control character, or refuses it. It also decodes an encoded path.
const refusedByNginx = /[\0-\x20\x7f]|%00|%(?![\da-f]{2})/i;

/** Every name as a path, and percent-encoded too if it needs that. */
export const oddPaths: OddPath[] = [
  ...goodNames.map(([what, name]) => ({ what, path: name, comes: { stored: name } })),
  ...badNames.map(([what, name]) => toOddPath(what, name, ofRaw[name] ?? 400)),
  ...goodNames.flatMap(([what, name]) => toEncoded(what, name, { stored: name })),
  ...badNames.flatMap(([what, name]) => toEncoded(what, name, ofRaw[name] ?? 400)),
  toOddPath('every character encoded', '%64%62', 400),
  { what: 'an empty query', path: 'a?', comes: { stored: 'a' } },
  toOddPath('a second question mark', 'a?version=1?', 400),
  toOddPath('an encoded question mark', 'a%3Fversion=1', 400),
  toOddPath('an empty fragment', 'a#', 400),
  toOddPath('an encoding that decoding makes', 'a%2%2FF', 400),
  toOddPath('an encoded percent sign before 2F', 'a%252Fb', 400),
  toOddPath('half an encoding at the end of another', 'a%%2F2Fb', 400),
  toOddPath('an encoded slash beside a slash', 'a/%2Fb', 400),
  toOddPath('an encoded dot segment behind an encoded slash', 'a%2F%2E%2E', 400),
  { what: 'an encoded slash, then a query with one', path: 'a%2Fb?', comes: { stored: 'a/b' } },
];

// What encodes a slash and a colon only has the result of the name itself.
function toEncoded(what: string, name: string, ofName: OddPath['comes']): OddPath[] {
  const path = encodeURIComponent(name);
  if (path === name) return [];
  const rest = path.replaceAll(/%2F|%3A/g, '');
  return [toOddPath(`${what}, encoded`, path, rest.includes('%') ? 400 : ofName)];
}

function toOddPath(what: string, path: string, comes: OddPath['comes']): OddPath {
  return { what, path, comes, ...(refusedByNginx.test(path) ? { refusedByNginx: true } : {}) };
}
