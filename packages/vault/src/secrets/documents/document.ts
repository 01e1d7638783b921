import { AppError } from '@cardea/contracts/errors';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import type { documentFormats } from '@cardea/contracts/secrets/documents';
import type { DocumentItem, ParsedItem } from './document-item.ts';
import { readDotenv, writeDotenv } from './dotenv.ts';
import { readJson, writeJson } from './json.ts';
import { malformed } from './malformed.ts';
import { itemsOf } from './tree.ts';
import { readYaml, writeYaml } from './yaml.ts';

export type DocumentFormat = (typeof documentFormats)[number];

/** The name in a document for the secret whose name is the prefix itself. No segment of a real name is a dot. */
export const ITSELF = '.';

interface Syntax {
  read(content: string): Iterable<ParsedItem>;
  /** The pieces of a document, about one for each item. */
  write(items: DocumentItem[]): Iterable<string>;
}

const syntaxes: Record<DocumentFormat, Syntax> = {
  dotenv: { read: readDotenv, write: writeDotenv },
  json: { read: (content) => itemsOf(readJson(content)), write: writeJson },
  yaml: { read: (content) => itemsOf(readYaml(content)), write: writeYaml },
};

/**
 * Reads a document of at most 1,000 secrets. Its errors never quote the document, they only name the line.
 * @throws AppError `invalid_request` with the number of the line; `too_large`
 */
export function parseDocument(format: DocumentFormat, content: string): { items: ParsedItem[] } {
  const items = new Map<string, ParsedItem>();
  for (const item of syntaxes[format].read(withoutMark(content))) {
    const name = item.name === ITSELF ? '' : item.name;
    if (items.has(name)) throw malformed(item.line, 'repeats a name of the document');
    if (items.size === BULK_MAX) throw tooMany();
    items.set(name, { ...item, name });
  }
  return { items: [...items.values()] };
}

/**
 * Writes a document, about a piece for each item, so that somebody else can be let in between. `parseDocument` reads it
 * back byte for byte. All names must be different.
 */
export function formatDocument(format: DocumentFormat, items: DocumentItem[]): Iterable<string> {
  return syntaxes[format].write(items.map((item) => (item.name === '' ? { ...item, name: ITSELF } : item)));
}

// Editors on Windows write a byte order mark at the beginning of a file.
function withoutMark(content: string): string {
  return content.startsWith('\uFEFF') ? content.slice(1) : content;
}

function tooMany(): AppError {
  return new AppError('too_large', `the document has more than ${BULK_MAX} secrets: import it in parts`);
}
