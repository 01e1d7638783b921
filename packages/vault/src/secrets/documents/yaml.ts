import { LineCounter, Lexer, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import type { ErrorCode, ParsedNode, YAMLMap } from 'yaml';
import type { SecretValue } from '../secret.ts';
import type { DocumentItem } from './document-item.ts';
import { quote } from './json.ts';
import { malformed } from './malformed.ts';
import { DEPTH_MAX, addNode } from './tree.ts';
import type { Branch, Node } from './tree.ts';
import { shown } from './value.ts';

/** Tokens and lines: more than any 1,000 secrets with a comment each need, and few enough to parse in a moment. */
const PARTS_MAX = 100_000;

/**
 * Reads a mapping of names to text and to mappings (YAML 1.2.2, core schema). The dangerous parts of YAML are not
 * supported: anchors, aliases, tags, merge keys, directives, several documents.
 * @throws AppError `invalid_request`
 */
export function readYaml(text: string): Branch {
  refuseTokens(text);
  const lineCounter = new LineCounter();
  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    merge: false,
    resolveKnownTags: false,
    // The library would compare each key with every other key. `addNode` looks it up instead.
    uniqueKeys: false,
    prettyErrors: false,
    // Not `silent`: then the library would not report a second document.
    logLevel: 'error',
    lineCounter,
  });
  const lineOf = (position: number) => lineCounter.linePos(position).line || 1;
  const [problem] = [...document.errors, ...document.warnings];
  if (problem) throw malformed(lineOf(problem.pos[0]), sentences[problem.code] ?? 'is not valid YAML');
  const { contents } = document;
  if (contents === null) return new Map();
  if (!isMap(contents)) throw malformed(lineOf(contents.range[0]), 'the document must be a mapping of names to text');
  return toBranch(contents, { depth: 1, lineOf });
}

// Used instead of the messages of the library, because those quote the document.
const sentences: Partial<Record<ErrorCode, string>> = {
  TAB_AS_INDENT: 'has a tab where YAML allows only blanks',
  BAD_DQ_ESCAPE: 'has an escape that does not exist in YAML',
  BAD_INDENT: 'has a wrong indentation',
  MULTIPLE_DOCS: 'begins a second document: import one at a time',
};

/** Parts of YAML that a mapping of text does not need, by the type of their token. */
const refusedTokens = new Map([
  ['*', 'an alias is not allowed: write the value itself'],
  ['&', 'an anchor is not allowed'],
  ['!', 'a tag is not allowed'],
  ['%', 'a directive is not allowed'],
  ['-', 'a list is not allowed: give each value a name'],
  ['[', 'a list is not allowed: give each value a name'],
  ['?', 'a name must be plain text before its colon'],
]);

/** Announces that the next token is a scalar, as `CST.SCALAR`. */
const SCALAR = '\u001f';

// Called before parsing. The time of the lexer depends on the length of the text only, that of the parser also on its
// content.
function refuseTokens(text: string): void {
  let parts = 0;
  let line = 1;
  let isText = false;
  for (const token of new Lexer().lex(text)) {
    const lines = linesIn(token);
    parts += 1 + lines;
    if (parts > PARTS_MAX) throw malformed(line, 'the document has too many lines and tokens: import it in parts');
    const sentence = isText || token === '---' ? undefined : refusedTokens.get(token.charAt(0));
    if (sentence) throw malformed(line, sentence);
    isText = token === SCALAR;
    line += lines;
  }
}

function linesIn(token: string): number {
  let lines = 0;
  for (let at = token.indexOf('\n'); at >= 0; at = token.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

/** How deep a node lies, and how its line is found. */
interface NodePosition {
  depth: number;
  lineOf(offset: number): number;
}

function toBranch(map: YAMLMap.Parsed, { depth, lineOf }: NodePosition): Branch {
  const branch: Branch = new Map();
  for (const { key, value } of map.items) {
    const line = lineOf(key.range[0]);
    if (depth > DEPTH_MAX) throw malformed(line, `is nested deeper than ${DEPTH_MAX} levels`);
    if (!isScalar(key) || typeof key.value !== 'string') throw malformed(line, 'a name must be text: put it in quotes');
    addNode(branch, key.value, { line, node: toNode(value, line, { depth: depth + 1, lineOf }) });
  }
  return branch;
}

function toNode(node: ParsedNode | null, line: number, position: NodePosition): Node {
  if (isMap(node)) return toBranch(node, position);
  if (isSeq(node)) throw malformed(line, 'a list is not allowed: give each value a name');
  const value = isScalar(node) ? node.value : undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') throw malformed(line, 'true and false must be in quotes');
  if (typeof value === 'number') throw malformed(line, 'a number must be in quotes');
  throw malformed(line, 'has no value: write "" for an empty value');
}

/**
 * Text is in double quotes and on one line: YAML and JSON read such text in the same way. Other values look like the
 * body of a PUT.
 */
export function* writeYaml(items: DocumentItem[]): Generator<string> {
  if (items.length === 0) yield '{}\n';
  for (const { name, value } of items) yield `${writeName(name)}:${writeValue(value)}\n`;
}

// Names that YAML 1.1 readers do not take for text are put in quotes.
function writeName(name: string): string {
  const isPlain = /^[A-Za-z_][\w./-]*$/.test(name) && !/^(?:y|n|yes|no|on|off|true|false|null)$/i.test(name);
  return isPlain ? name : quote(name);
}

function writeValue(value: SecretValue): string {
  const text = quote(shown(value));
  if (value.encoding === 'utf8' && value.contentType === undefined) return ` ${text}`;
  const contentType = value.contentType === undefined ? '' : `\n  contentType: ${quote(value.contentType)}`;
  return `\n  encoding: ${value.encoding}${contentType}\n  value: ${text}`;
}
