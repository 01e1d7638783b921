import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { Db, Transaction } from '@cardea/storage/db';

/** How many characters of a word are kept, and looked at: words that begin with the same ones are the same. */
export const WORD_CHARACTERS_MAX = 64;

/** How many words of a name are kept: by those that come after them it is not found. */
export const WORDS_MAX = 32;

/** Lets a secret that is not in the trash be found: takes the place of whatever was known of it, also under another name. */
export async function indexSecret(
  tx: Transaction,
  engine: Db['engine'],
  secret: { vaultId: string; name: string; secretId: string; metadata: Metadata },
): Promise<void> {
  const { vaultId, name, secretId, metadata } = secret;
  await unindexSecret(tx, secretId);
  await tx.query(INSERT_WORDS[engine], [vaultId, JSON.stringify(wordsOf(name)), name, secretId]);
  const labels = Object.entries(metadata);
  if (labels.length > 0) await tx.query(INSERT_LABELS[engine], [vaultId, JSON.stringify(labels), name, secretId]);
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

/** Lets a secret be found no more. */
export async function unindexSecret(tx: Transaction, secretId: string): Promise<void> {
  await tx.query(`delete from secret_word where secret_id = $1`, [secretId]);
  await tx.query(`delete from secret_label where secret_id = $1`, [secretId]);
}

/**
 * The words that a name is found by, each once: what stands between `/`, `.`, `_` and `-`, cut in two where a capital
 * follows a small letter or a digit; then every segment between slashes as a whole. In lower case, and the first
 * WORDS_MAX only: a name may have more than a hundred, and all would be written with it.
 */
export function wordsOf(name: string): string[] {
  const segments = name.split('/').map(toWord);
  return [...new Set([...partsOf(name), ...segments])].filter((word) => word !== '').slice(0, WORDS_MAX);
}

/** The words of what somebody looks for, each once: cut like a name, at blanks too, and without the whole segments. */
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
