import type { Metadata } from '@cardea/contracts/secrets';
import type { Transaction } from '@cardea/storage/db';

/** How many characters of a word are kept, and looked at: words that begin with the same ones are the same. */
export const WORD_CHARACTERS_MAX = 64;

/** Lets a secret that is not in the trash be found: takes the place of whatever was known of it, also under another name. */
export async function indexSecret(
  tx: Transaction,
  secret: { vaultId: string; name: string; secretId: string; metadata: Metadata },
): Promise<void> {
  const { vaultId, name, secretId, metadata } = secret;
  await unindexSecret(tx, secretId);
  for (const word of wordsOf(name)) {
    await tx.query(
      `insert into secret_word (vault_id, word, name, secret_id)
       values ($1, $2, $3, $4)`,
      [vaultId, word, name, secretId],
    );
  }
  for (const [key, value] of Object.entries(metadata)) {
    await tx.query(
      `insert into secret_label (vault_id, key, value, name, secret_id)
       values ($1, $2, $3, $4, $5)`,
      [vaultId, key, value, name, secretId],
    );
  }
}

/** Lets a secret be found no more. */
export async function unindexSecret(tx: Transaction, secretId: string): Promise<void> {
  await tx.query(`delete from secret_word where secret_id = $1`, [secretId]);
  await tx.query(`delete from secret_label where secret_id = $1`, [secretId]);
}

/**
 * The words that a name is found by, each once: what stands between `/`, `.`, `_` and `-`, cut in two where a capital
 * follows a small letter or a digit; and every segment between slashes as a whole. In lower case.
 */
export function wordsOf(name: string): string[] {
  const segments = name.split('/').map(toWord);
  return [...new Set([...partsOf(name), ...segments])].filter((word) => word !== '');
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
