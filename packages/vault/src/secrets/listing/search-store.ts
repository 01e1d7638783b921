import type { Db, Queryable } from '@cardea/storage/db';
import type { NameRange } from '../../name-ranges.ts';
import type { ListedRow } from './list-store.ts';

/** A secret with the word of its name that the index found. */
export type WordRow = ListedRow & { word: string };

/** Secrets by the words of their names: those after (`from.word`, `from.name`) whose word sorts before `to`. */
export async function listByWord(
  db: Queryable,
  query: { vaultId: string; from: { word: string; name: string }; to: string; limit: number },
): Promise<WordRow[]> {
  const { vaultId, from, to, limit } = query;
  return db.query<WordRow>(
    `select w.word, s.name, s.current_version, s.max_versions, s.metadata, s.due_at, s.trashed_at,
            s.created_at, s.updated_at
       from secret_word w
       join secret s on s.id = w.secret_id
      where w.vault_id = $1
        and (w.word, w.name) > ($2, $3)
        and w.word < $4
      order by w.word, w.name
      limit $5`,
    [vaultId, from.word, from.name, to, limit],
  );
}

/** Secrets that have this metadata, in the order of their names. */
export async function listByLabel(
  db: Queryable,
  query: { vaultId: string; key: string; value: string; range: NameRange; limit: number },
): Promise<ListedRow[]> {
  const { vaultId, key, value, range, limit } = query;
  return db.query<ListedRow>(
    `select s.name, s.current_version, s.max_versions, s.metadata, s.due_at, s.trashed_at,
            s.created_at, s.updated_at
       from secret_label l
       join secret s on s.id = l.secret_id
      where l.vault_id = $1
        and l.key = $2
        and l.value = $3
        and l.name >= $4
        and l.name < $5
      order by l.name
      limit $6`,
    [vaultId, key, value, range.from, range.to, limit],
  );
}

// Not `exists`: with it, PostgreSQL may choose to read the whole table. Each of these subqueries is one index lookup.
const VAULTS_WITH_WORD: Record<Db['engine'], string> = {
  sqlite: `select v.value as id
       from json_each($1) as v
      where (select 1
               from secret_word w
              where w.vault_id = v.value
                and w.word >= $2
                and w.word < $3
              limit 1) = 1`,
  postgres: `select v.id
       from json_array_elements_text($1::json) as v (id)
      where (select 1
               from secret_word w
              where w.vault_id = v.id
                and w.word >= $2
                and w.word < $3
              limit 1) = 1`,
};

/** Those of the given vaults that have a secret with such a word in its name. */
export async function findVaultsWithWord(
  db: Db,
  { vaultIds, from, to }: { vaultIds: string[]; from: string; to: string },
): Promise<Set<string>> {
  const rows = await db.query<{ id: string }>(VAULTS_WITH_WORD[db.engine], [JSON.stringify(vaultIds), from, to]);
  return new Set(rows.map(({ id }) => id));
}

const VAULTS_WITH_LABEL: Record<Db['engine'], string> = {
  sqlite: `select v.value as id
       from json_each($1) as v
      where (select 1
               from secret_label l
              where l.vault_id = v.value
                and l.key = $2
                and l.value = $3
              limit 1) = 1`,
  postgres: `select v.id
       from json_array_elements_text($1::json) as v (id)
      where (select 1
               from secret_label l
              where l.vault_id = v.id
                and l.key = $2
                and l.value = $3
              limit 1) = 1`,
};

/** Those of the given vaults that have a secret with this metadata. */
export async function findVaultsWithLabel(
  db: Db,
  { vaultIds, key, value }: { vaultIds: string[]; key: string; value: string },
): Promise<Set<string>> {
  const rows = await db.query<{ id: string }>(VAULTS_WITH_LABEL[db.engine], [JSON.stringify(vaultIds), key, value]);
  return new Set(rows.map(({ id }) => id));
}
