import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { Db } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
import { fromCursor, toCursor } from '../../cursor.ts';
import type { Cursor, ListId } from '../../cursor.ts';
import { endOf, justAfter, nameRanges } from '../../name-ranges.ts';
import type { NameRange } from '../../name-ranges.ts';
import type { Page, PageRequest } from '../../page.ts';
import { listLive } from './list-store.ts';
import type { ListedRow } from './list-store.ts';
import { wordsOf } from './search-index.ts';
import { findVaultsWithLabel, findVaultsWithWord, listByLabel, listByWord } from './search-store.ts';

/** A secret is found if it has all the words and all the labels. At least one word or label is given. */
export interface Criteria {
  /** In lower case. Each must be the beginning of a word of the name. */
  words: string[];
  labels: [key: string, value: string][];
}

/** A vault to search, and the prefix of the names that may be seen. */
export interface SearchedVault {
  id: string;
  name: string;
  pathPrefix: string | undefined;
}

/** A page of a search, and the list that its cursors belong to. */
export interface SearchRequest extends PageRequest {
  list: ListId;
  /** Whose search it is: see `pauseIfLong`. */
  by: string;
}

export interface Found {
  vault: SearchedVault;
  row: ListedRow;
}

// How many secrets a page examines at most. If words are frequent one by one but rare together, the page stays short or
// empty, and the next page continues from there.
const EXAMINED_MAX = 2_048;
const CHUNK = 128;

// The position of a candidate: its vault, the word that the index found it by, its name. Candidates are only names that
// the caller may see, so no hidden name gets into a cursor.
type SearchPosition = readonly [vaultId: string, word: string, name: string];
const START: SearchPosition = ['', '', ''];

/** The first vault of a search that continues from a cursor. No vault before it is searched. @throws AppError */
export function firstVaultOf({ list, cursor }: Pick<SearchRequest, 'list' | 'cursor'>): string {
  return fromCursor(list, cursor, START)[0];
}

/** A cursor to a vault that has not been searched yet. */
export function cursorTo(list: ListId, vaultId: string): Cursor {
  return toCursor(list, [vaultId, '', '']);
}

/**
 * One page of what is found in the given vaults, in the order of the ids of the vaults. The cost of a page does not
 * depend on the number of secrets: an index finds candidates by one criterion, and each candidate is checked for the
 * others. A page may be shorter than `limit` although another page follows.
 * @throws AppError `invalid_request` for an invalid cursor
 */
export async function search(
  db: Db,
  vaults: SearchedVault[],
  criteria: Criteria,
  { list, limit, cursor, by }: SearchRequest,
): Promise<Page<Found>> {
  const from = fromCursor(list, cursor, START);
  const items: Found[] = [];
  let last = from;
  let examined = 0;
  for await (const { vault, row, position } of candidates(db, vaults, criteria, from)) {
    await pauseIfLong(by);
    const found = isFound(criteria, row, position);
    if (found && items.length === limit) return { items, nextCursor: toCursor(list, last) };
    if (found) items.push({ vault, row });
    last = position;
    examined += 1;
    if (examined === EXAMINED_MAX) return { items, nextCursor: toCursor(list, last) };
  }
  return { items };
}

interface Candidate extends Found {
  position: SearchPosition;
}

async function* candidates(
  db: Db,
  vaults: SearchedVault[],
  criteria: Criteria,
  from: SearchPosition,
): AsyncGenerator<Candidate> {
  for (const vault of await promising(db, vaults, criteria)) {
    const position = vault.id === from[0] ? from : ([vault.id, '', ''] as const);
    const [label] = criteria.labels;
    // The index of words is not used with a path prefix: it would go through names that the prefix hides.
    if (criteria.words.length > 0 && vault.pathPrefix === undefined) yield* byWord(db, vault, criteria, position);
    else if (label) yield* byLabel(db, vault, label, position);
    else yield* byName(db, vault, position);
  }
}

// Leaves out the vaults without a match, with one statement for all vaults. A vault with hidden names always stays in:
// a short page shows that a vault was searched, and would reveal whether a hidden name matches.
async function promising(db: Db, vaults: SearchedVault[], { words, labels }: Criteria): Promise<SearchedVault[]> {
  const vaultIds = vaults.filter(({ pathPrefix }) => pathPrefix === undefined).map(({ id }) => id);
  if (vaultIds.length === 0 || vaults.length < 2) return vaults;
  const word = longest(words);
  const [[key, value] = ['', '']] = labels;
  const holding =
    word === undefined
      ? await findVaultsWithLabel(db, { vaultIds, key, value })
      : await findVaultsWithWord(db, { vaultIds, from: word, to: endOf(word) });
  return vaults.filter(({ id, pathPrefix }) => pathPrefix !== undefined || holding.has(id));
}

async function* byWord(
  db: Db,
  vault: SearchedVault,
  { words }: Criteria,
  [vaultId, fromWord, fromName]: SearchPosition,
): AsyncGenerator<Candidate> {
  const asked = longest(words) ?? '';
  let from = fromWord < asked ? { word: asked, name: '' } : { word: fromWord, name: fromName };
  for (;;) {
    const rows = await listByWord(db, { vaultId, from, to: endOf(asked), limit: CHUNK });
    for (const row of rows) yield { vault, row, position: [vaultId, row.word, row.name] };
    if (rows.length < CHUNK) return;
    from = rows.at(-1)!;
  }
}

function byLabel(
  db: Db,
  vault: SearchedVault,
  [key, value]: Criteria['labels'][number],
  position: SearchPosition,
): AsyncGenerator<Candidate> {
  return inRanges(vault, position, (range) => listByLabel(db, { vaultId: vault.id, key, value, range, limit: CHUNK }));
}

function byName(db: Db, vault: SearchedVault, position: SearchPosition): AsyncGenerator<Candidate> {
  return inRanges(vault, position, (range) => listLive(db, { vaultId: vault.id, range, limit: CHUNK }));
}

async function* inRanges(
  vault: SearchedVault,
  [, , name]: SearchPosition,
  list: (range: NameRange) => Promise<ListedRow[]>,
): AsyncGenerator<Candidate> {
  for (const range of nameRanges({ pathPrefix: vault.pathPrefix, from: justAfter(name) })) {
    let { from } = range;
    for (;;) {
      const rows = await list({ from, to: range.to });
      for (const row of rows) yield { vault, row, position: [vault.id, '', row.name] };
      if (rows.length < CHUNK) break;
      from = justAfter(rows.at(-1)!.name);
    }
  }
}

function isFound({ words, labels }: Criteria, row: ListedRow, [, word]: SearchPosition): boolean {
  const own = wordsOf(row.name);
  if (!words.every((asked) => own.some((one) => one.startsWith(asked)))) return false;
  // The index finds a name once for each of its words with this beginning. Only the first of them counts.
  if (word !== '' && own.some((one) => one < word && one.startsWith(longest(words)!))) return false;
  if (labels.length === 0) return true;
  const metadata = JSON.parse(row.metadata) as Metadata;
  return labels.every(([key, value]) => metadata[key] === value);
}

// As a rule, the longest word is in the fewest names.
function longest(words: string[]): string | undefined {
  return words.toSorted((a, b) => b.length - a.length)[0];
}
