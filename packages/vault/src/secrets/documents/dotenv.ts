import { isUtf8 } from 'node:buffer';
import type { SecretValue } from '../secret.ts';
import type { DocumentItem, ParsedItem } from './document-item.ts';
import { malformed } from './malformed.ts';
import { base64Value, shown, textValue } from './value.ts';

// A line of an environment file ends with LF or CRLF. It is empty or one of these:
//
//   NAME=value          up to the end of the line, or to a `#` after a blank; blanks around the value are ignored
//   NAME='value'        literal; may span several lines
//   NAME="value"        \n \r \t \" \\ \$ \` are escapes, any other backslash is literal; may span several lines
//   export NAME=value   the same; also with quotes
//   # comment           also after a value and a blank
//   # cardea: …         a mark: says how the value in the next line is written, and its content type
//
// Nothing is expanded: `$` stands for itself, and no command is run.

const MARK = '# cardea: ';

/** How a value is written: as it is; `base64` for bytes; `base64-text` for text with characters unfit for the file. */
interface Mark {
  written: 'as-is' | 'base64' | 'base64-text';
  contentType?: string;
}

interface Line {
  /** The start and the end of the line in the text, without leading blanks. */
  start: number;
  end: number;
  /** From 1. */
  number: number;
}

/** Reads an environment file. @throws AppError `invalid_request` */
export function* readDotenv(content: string): Generator<ParsedItem> {
  const text = content.replaceAll('\r\n', '\n');
  refuseCarriageReturns(text);
  let mark: Mark | undefined;
  for (let at = 0, number = 1; at < text.length;) {
    const line = { start: skipBlanks(text, at), end: endOfLine(text, at), number };
    const isComment = line.start === line.end || text[line.start] === '#';
    if (isComment && mark) throw malformed(number, 'the mark in the line before needs a value in this line');
    if (isComment) {
      mark = readMark(text.slice(line.start, line.end), number);
      at = line.end + 1;
      number += 1;
    } else {
      const { name, written, next } = readAssignment(text, line);
      yield { name, line: number, value: toValue(written, mark, number) };
      mark = undefined;
      number += linesIn(text.slice(at, next));
      at = next;
    }
  }
  if (mark) throw malformed(1 + linesIn(text), 'the mark in the line before needs a value, but the document ends');
}

// Other readers treat a carriage return as the end of a line, or ignore it.
function refuseCarriageReturns(text: string): void {
  const at = text.indexOf('\r');
  if (at < 0) return;
  throw malformed(
    1 + linesIn(text.slice(0, at)),
    'a carriage return does not end a line: in a value, write \\r in double quotes',
  );
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

function linesIn(text: string): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

function readMark(comment: string, line: number): Mark | undefined {
  if (!comment.startsWith(MARK)) return undefined;
  const said = comment.slice(MARK.length);
  const [found, written = 'as-is', contentType] = /^(base64|base64-text)?(?: ?contentType=(\S.*))?$/.exec(said) ?? [];
  if (!found) throw malformed(line, 'is an unknown mark');
  return { written: written as Mark['written'], ...(contentType === undefined ? {} : { contentType }) };
}

/** `next` is where the next line begins. */
function readAssignment(text: string, line: Line): { name: string; written: string; next: number } {
  const equals = text.slice(line.start, line.end).indexOf('=');
  const head = equals < 0 ? '' : text.slice(line.start, line.start + equals);
  const [, name] = /^(?:export[ \t]+)?(\S+)[ \t]*$/.exec(head) ?? [];
  if (name === undefined) throw malformed(line.number, 'is not NAME=value');
  const from = line.start + equals + 1;
  const at = skipBlanks(text, from);
  const quote = text[at];
  if (quote === '`') throw malformed(line.number, 'a value must not begin with a backtick: put it in quotes');
  if (quote !== "'" && quote !== '"') {
    return { name, written: withoutComment(text.slice(from, line.end)), next: line.end + 1 };
  }
  const close = quote === "'" ? text.indexOf(quote, at + 1) : endOfDoubleQuoted(text, at);
  if (close < 0) throw malformed(line.number, 'the quote that begins here does not end');
  const inside = text.slice(at + 1, close);
  return { name, written: quote === "'" ? inside : unescape(inside), next: afterQuote(text, close, line) };
}

function skipBlanks(text: string, from: number): number {
  let at = from;
  while (isBlank(text[at])) at += 1;
  return at;
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\t';
}

function withoutComment(text: string): string {
  const comment = text.search(/[ \t]#/);
  let end = comment < 0 ? text.length : comment;
  // Not a regular expression: one for trailing blanks takes quadratic time.
  while (isBlank(text[end - 1])) end -= 1;
  return text.slice(skipBlanks(text, 0), end);
}

function endOfDoubleQuoted(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\\') at += 1;
    else if (char === '"') return at;
  }
  return -1;
}

const escapes = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ...['"', '\\', '$', '`'].map((char) => [char, char] as const),
]);

function unescape(text: string): string {
  return text.replace(/\\([^])/g, (pair, char: string) => escapes.get(char) ?? pair);
}

function afterQuote(text: string, close: number, line: Line): number {
  const end = endOfLine(text, close);
  const at = skipBlanks(text, close + 1);
  const isComment = text[at] === '#' && at > close + 1;
  if (at < end && !isComment) throw malformed(line.number, 'there is text after the closing quote');
  return end + 1;
}

function toValue(written: string, mark: Mark | undefined, line: number): SecretValue {
  if (!mark) return textValue(written, line);
  const value = mark.written === 'as-is' ? textValue(written, line) : base64Value(written, line);
  const encoding = mark.written === 'base64-text' ? textEncoding(value.bytes, line) : value.encoding;
  return { ...value, encoding, ...(mark.contentType === undefined ? {} : { contentType: mark.contentType }) };
}

function textEncoding(bytes: Uint8Array, line: number): 'utf8' {
  if (!isUtf8(bytes)) throw malformed(line, 'the value is not well-formed text');
  return 'utf8';
}

/** Writes an environment file. A shell and the usual readers read the same values from it, as far as they can. */
export function* writeDotenv(items: DocumentItem[]): Generator<string> {
  for (const { name, value } of items) yield `${writeMark(value)}${name}=${writeValue(value)}\n`;
}

// Of the control characters, only a tab, a line feed and a carriage return belong in text.
const unfit = /[^\P{Cc}\t\n\r]/u;

function isUnfit({ bytes, encoding }: SecretValue): boolean {
  return encoding === 'utf8' && unfit.test(shown({ bytes, encoding }));
}

function writeMark(value: SecretValue): string {
  const written = isUnfit(value) ? ['base64-text'] : value.encoding === 'base64' ? ['base64'] : [];
  const said = value.contentType === undefined ? written : [...written, `contentType=${value.contentType}`];
  return said.length === 0 ? '' : `${MARK}${said.join(' ')}\n`;
}

// Prefers single quotes: a shell, `dotenv` and this file read them in the same way. In double quotes, a shell runs a
// command between backticks or after a `$`, so both are escaped there. Without quotes, zsh takes `=ls` at the start or
// after a colon for the path of a program, so a value with `=` gets quotes.
function writeValue(value: SecretValue): string {
  const text = isUnfit(value) ? shown({ ...value, encoding: 'base64' }) : shown(value);
  if (/^[\w.,:/@%+-]+$/.test(text)) return text;
  if (!/['\r]/.test(text)) return `'${text}'`;
  return `"${text.replace(/[\\"$`]/g, '\\$&').replaceAll('\r', '\\r')}"`;
}
