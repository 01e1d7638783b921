import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { Db, Transaction } from '@cardea/storage/db';

/** How many characters of a word are stored and compared. Longer words with the same beginning count as the same. */
export const WORD_CHARACTERS_MAX = 64;

/** How many words of a name are stored. A search for a later word does not find the name. */
export const WORDS_MAX = 32;

interface Indexed {
  vaultId: string;
  name: string;
  secretId: string;
  metadata: Metadata;
}

/** Indexes a secret that is not in the trash. Replaces its old index rows, also those under another name. */
export async function reindexSecret(tx: Transaction, engine: Db['engine'], secret: Indexed): Promise<void> {
  await Promise.all([unindexSecret(tx, secret.secretId), indexSecret(tx, engine, secret)]);
}

/** Indexes a secret that has no index rows: a new one, or one that comes back from the trash. */
export async function indexSecret(tx: Transaction, engine: Db['engine'], secret: Indexed): Promise<void> {
  const { vaultId, name, secretId, metadata } = secret;
  const labels = Object.entries(metadata);
  await Promise.all([
    tx.query(INSERT_WORDS[engine], [vaultId, JSON.stringify(wordsOf(name)), name, secretId]),
    labels.length > 0 && tx.query(INSERT_LABELS[engine], [vaultId, JSON.stringify(labels), name, secretId]),
  ]);
}

const INSERT_WORDS: Record<Db['engine'], string> = {
  sqlite: `insert into secret_word (vault_id, word, name, secret_id)
           select $1, w.value, $3, $4
             from json_each($2) as w`,
  postgres: `insert into secret_word (vault_id, word, name, secret_id)
             select $1, w.word, $3, $4
               from json_array_elements_text($2::json) as w (word)`,
};

// Pairs of key and value.
const INSERT_LABELS: Record<Db['engine'], string> = {
  sqlite: `insert into secret_label (vault_id, key, value, name, secret_id)
           select $1, json_extract(l.value, '$[0]'), json_extract(l.value, '$[1]'), $3, $4
             from json_each($2) as l`,
  postgres: `insert into secret_label (vault_id, key, value, name, secret_id)
             select $1, l.pair ->> 0, l.pair ->> 1, $3, $4
               from json_array_elements($2::json) as l (pair)`,
};

/** Takes a secret out of the search index. */
export async function unindexSecret(tx: Transaction, secretId: string): Promise<void> {
  await Promise.all([
    tx.query(`delete from secret_word where secret_id = $1`, [secretId]),
    tx.query(`delete from secret_label where secret_id = $1`, [secretId]),
  ]);
}

/**
 * The words that a search finds a name by, each once, in lower case. First come the parts between `/`, `.`, `_` and
 * `-`. A part is also split before a capital that follows a small letter or a digit. Then comes every segment between
 * slashes as a whole. Only the first WORDS_MAX are kept: a name may have more than a hundred words, and all of them
 * would be written with it.
 */
export function wordsOf(name: string): string[] {
  const segments = name.split('/').map(toWord);
  return [...new Set([...partsOf(name), ...segments])].filter((word) => word !== '').slice(0, WORDS_MAX);
}

/** The words of a query, each once. A query is split like a name, and also at blanks, but has no whole segments. */
export function wordsOfQuery(text: string): string[] {
  return [...new Set(partsOf(text))];
}

function partsOf(text: string): string[] {
  return text
    .split(/[/._\s-]+|(?<=[a-z0-9])(?=[A-Z])/)
    .map(toWord)
    .filter((word) => word !== '');
}

function toWord(text: string): string {
  return Array.from(text.toLowerCase()).slice(0, WORD_CHARACTERS_MAX).join('');
}
