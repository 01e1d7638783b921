import type { Queryable } from '@cardea/storage/db';
import type { Part, SecretRow } from '../secret-store.ts';

/** The columns of a secret that a list needs. */
export type ListedRow = Pick<
  SecretRow,
  'name' | 'current_version' | 'max_versions' | 'metadata' | 'due_at' | 'trashed_at' | 'created_at' | 'updated_at'
>;

/** A secret with an expiry. */
export type DueRow = ListedRow & { due_at: number };

/** Secrets that are not in the trash. */
export async function listLive(db: Queryable, { vaultId, range, limit }: Part): Promise<ListedRow[]> {
  return db.query<ListedRow>(
    `select name, current_version, max_versions, metadata, due_at, trashed_at, created_at, updated_at
       from secret
      where vault_id = $1
        and live = 1
        and name >= $2
        and name < $3
      order by name
      limit $4`,
    [vaultId, range.from, range.to, limit],
  );
}

/**
 * Secrets with a version that was put into the trash after `after`. Because of `coalesce`, PostgreSQL reads them in the
 * order of their names. Without it, PostgreSQL also reads the index of the sweep and sorts what both indexes have.
 */
export async function listTrashed(
  db: Queryable,
  { vaultId, range, limit, after }: Part & { after: number },
): Promise<ListedRow[]> {
  return db.query<ListedRow>(
    `select name, current_version, max_versions, metadata, due_at, trashed_at, created_at, updated_at
       from secret
      where vault_id = $1
        and trashed_at is not null
        and coalesce(trashed_at, 0) > $5
        and name >= $2
        and name < $3
      order by name
      limit $4`,
    [vaultId, range.from, range.to, limit, after],
  );
}

// All characters that a segment of a name may have.
const SEGMENT_CHARACTERS = '-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz';

/**
 * Secrets that are not in the trash. Names with another slash after `prefix` are folded: of the names that are the same
 * up to that slash, only the first is listed. Each row takes one step in the index, however many names lie between two
 * rows.
 */
export async function listFolded(
  db: Queryable,
  { vaultId, prefix, range, limit }: Part & { prefix: string },
): Promise<ListedRow[]> {
  return db.query<ListedRow>(
    // `ltrim` cuts the segment after `prefix`: the rest begins with the next slash, or is empty. The next step starts
    // after `db/~`, or after the name itself. SQLite keeps the order of a cross join: first the steps, then one lookup
    // for each.
    `with recursive step (name, n) as (
       select (select name
                 from secret
                where vault_id = $1
                  and live = 1
                  and name >= $2
                  and name < $3
                order by name
                limit 1),
              1
        union all
       select (select s.name
                 from secret s
                where s.vault_id = $1
                  and s.live = 1
                  and s.name >= substr(step.name, 1, length(step.name) - length(ltrim(substr(step.name, $4), $5)))
                                || replace(substr(ltrim(substr(step.name, $4), $5), 1, 1), '/', '/~')
                                || '!'
                  and s.name < $3
                order by s.name
                limit 1),
              n + 1
         from step
        where step.name is not null
          and n < $6
     )
     select s.name, s.current_version, s.max_versions, s.metadata, s.due_at, s.trashed_at,
            s.created_at, s.updated_at
       from step
      cross join secret s
      where s.vault_id = $1
        and s.name = step.name
      order by step.n`,
    [vaultId, range.from, range.to, prefix.length + 1, SEGMENT_CHARACTERS, limit],
  );
}

/** Secrets outside the trash that expire before a time, the soonest first, from `from.dueAt` and `from.name` on. */
export async function listDue(
  db: Queryable,
  query: { vaultId: string; from: { dueAt: number; name: string }; before: number; limit: number },
): Promise<DueRow[]> {
  const { vaultId, from, before, limit } = query;
  return db.query<DueRow>(
    `select name, current_version, max_versions, metadata, due_at, trashed_at, created_at, updated_at
       from secret
      where vault_id = $1
        and live = 1
        and (due_at, name) >= ($2, $3)
        and due_at < $4
      order by due_at, name
      limit $5`,
    [vaultId, from.dueAt, from.name, before, limit],
  );
}
