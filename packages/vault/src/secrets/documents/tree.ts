import type { SecretValue } from '../secret.ts';
import type { ParsedItem } from './document-item.ts';
import { malformed } from './malformed.ts';
import { base64Value, textValue } from './value.ts';

/** How deep names may be nested. A name with more segments can be written flat, with `/`. */
export const DEPTH_MAX = 32;

/** The content of a name: text, or more names under it. */
export type Node = string | Branch;

/** The names of one level of JSON or YAML, in the order of the document, with the line of each. */
export type Branch = Map<string, { line: number; node: Node }>;

/**
 * @throws AppError `invalid_request` for a name that exists already, because one of the two values would be lost, and for
 * an empty name, which would be taken for the name above it
 */
export function addNode(branch: Branch, name: string, { line, node }: { line: number; node: Node }): void {
  if (name === '') throw malformed(line, 'a name must not be empty');
  if (branch.has(name)) throw malformed(line, 'repeats a name of the document');
  branch.set(name, { line, node });
}

/** The secrets of a tree. Names are joined with `/`. The key `.` adds nothing to the name above it. */
export function* itemsOf(branch: Branch, path: readonly string[] = []): Generator<ParsedItem> {
  for (const [key, { line, node }] of branch) {
    const below = key === '.' ? path : [...path, key];
    const value = typeof node === 'string' ? textValue(node, line) : describedValue(node, line);
    if (value) yield { name: below.join('/'), line, value };
    else if (key === '.') throw malformed(line, 'the name . is for a secret and cannot have names under it');
    else yield* itemsOf(node as Branch, below);
  }
}

const describing: ReadonlySet<string> = new Set(['encoding', 'value', 'contentType']);

// A branch with the keys `encoding`, `value` and perhaps `contentType`, and no others, is one secret, as in the body of
// a PUT. Two secrets with the names `encoding` and `value` can be written flat.
function describedValue(branch: Branch, line: number): SecretValue | undefined {
  if (branch.size === 0) throw malformed(line, 'has neither a value nor names under it');
  if (!branch.has('encoding') || !branch.has('value')) return undefined;
  if (![...branch.keys()].every((key) => describing.has(key))) return undefined;
  const text = (key: string) => textOf(branch, key, line);
  const contentType = branch.has('contentType') ? { contentType: text('contentType') } : {};
  return { ...encodedValue(text('encoding'), text('value'), line), ...contentType };
}

function textOf(branch: Branch, key: string, line: number): string {
  const node = branch.get(key)?.node;
  if (typeof node !== 'string') throw malformed(line, 'has an encoding or a value that is not text');
  return node;
}

function encodedValue(encoding: string, text: string, line: number): SecretValue {
  if (encoding === 'utf8') return textValue(text, line);
  if (encoding === 'base64') return base64Value(text, line);
  throw malformed(line, 'the encoding must be utf8 or base64');
}
