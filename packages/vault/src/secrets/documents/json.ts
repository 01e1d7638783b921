import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import type { SecretValue } from '../secret.ts';
import type { DocumentItem } from './document-item.ts';
import { malformed } from './malformed.ts';
import { DEPTH_MAX, addNode } from './tree.ts';
import type { Branch, Node } from './tree.ts';
import { shown } from './value.ts';

/** More members than any 1,000 secrets need, and few enough to hold in memory. */
const MEMBERS_MAX = 8 * BULK_MAX;

/**
 * Reads an object of text and of objects (RFC 8259). JSON.parse is not enough: of two members with the same name it
 * takes the last, it accepts numbers that would not be written back as they were, and it does not tell the line.
 * @throws AppError `invalid_request`
 */
export function readJson(text: string): Branch {
  const reader = new Reader(text);
  if (reader.next() !== '{') throw malformed(reader.line, 'the document must be an object of names and text');
  const branch = reader.readObject(1);
  if (reader.next() !== '') throw malformed(reader.line, 'there is text after the end of the object');
  return branch;
}

class Reader {
  line = 1;
  readonly #text: string;
  #at = 0;
  #members = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next character that is not white space, without consuming it. Empty at the end of the text. */
  next(): string {
    for (; ; this.#at += 1) {
      const char = this.#text[this.#at] ?? '';
      if (char === '\n') this.line += 1;
      else if (char !== ' ' && char !== '\t' && char !== '\r') return char;
    }
  }

  readObject(depth: number): Branch {
    const branch: Branch = new Map();
    if (depth > DEPTH_MAX) throw malformed(this.line, `is nested deeper than ${DEPTH_MAX} levels`);
    this.#expect('{');
    if (this.next() !== '}') {
      do this.#readMember(branch, depth);
      while (this.#takes(','));
    }
    this.#expect('}');
    return branch;
  }

  #readMember(branch: Branch, depth: number): void {
    this.#members += 1;
    if (this.#members > MEMBERS_MAX) throw malformed(this.line, `the document has more than ${MEMBERS_MAX} names`);
    if (this.next() !== '"') throw this.#invalid();
    const { line } = this;
    const name = this.#readString();
    this.#expect(':');
    addNode(branch, name, { line, node: this.#readNode(depth) });
  }

  #readNode(depth: number): Node {
    const char = this.next();
    if (char === '"') return this.#readString();
    if (char === '{') return this.readObject(depth + 1);
    if (char === '[') throw malformed(this.line, 'a list is not allowed: give each value a name');
    const from = this.#text.slice(this.#at, this.#at + 5);
    if (/^(?:true|false)/.test(from)) throw malformed(this.line, 'true and false must be in quotes');
    if (/^-?\d/.test(from)) throw malformed(this.line, 'a number must be in quotes');
    if (from.startsWith('null')) throw malformed(this.line, 'has no value: write "" for an empty value');
    throw this.#invalid();
  }

  #readString(): string {
    const end = endOfString(this.#text, this.#at);
    const quoted = this.#text.slice(this.#at, end);
    this.#at = end;
    try {
      return JSON.parse(quoted) as string;
    } catch {
      // The message of JSON.parse quotes the document, so it is not passed on.
      throw this.#invalid();
    }
  }

  #takes(char: string): boolean {
    if (this.next() !== char) return false;
    this.#at += 1;
    return true;
  }

  #expect(char: string): void {
    if (!this.#takes(char)) throw this.#invalid();
  }

  #invalid() {
    return malformed(this.line, 'is not valid JSON');
  }
}

/** The index after the closing quote, or the end of the text if the quote is missing. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 0x5c) at += 1;
    else if (char === 0x22) return at + 1;
  }
  return text.length;
}

/** One secret per line. Text is a string. Bytes, and values with a content type, look like the body of a PUT. */
export function* writeJson(items: DocumentItem[]): Generator<string> {
  for (const [at, { name, value }] of items.entries()) {
    yield `${at === 0 ? '{' : ','}\n  ${quote(name)}: ${writeValue(value)}`;
  }
  yield items.length === 0 ? '{}\n' : '\n}\n';
}

function writeValue(value: SecretValue): string {
  const text = quote(shown(value));
  if (value.encoding === 'utf8' && value.contentType === undefined) return text;
  const contentType = value.contentType === undefined ? '' : `, "contentType": ${quote(value.contentType)}`;
  return `{ "encoding": "${value.encoding}"${contentType}, "value": ${text} }`;
}

/**
 * Text in quotes, valid in JSON and in YAML. Also escapes characters that neither format requires to be escaped: those
 * that a terminal acts on, those that a YAML 1.1 reader takes for the end of a line, and the two that YAML allows only as
 * escapes (1.2.2, 5.1).
 */
export function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
