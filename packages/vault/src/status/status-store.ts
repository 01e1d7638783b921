import type { Queryable } from '@cardea/storage/db';

/** The DEKs of one state that one KEK wraps. */
export interface DekCount {
  kek_version: number;
  state: 'active' | 'retiring';
  n: number;
  /** When the oldest of them was made. */
  created_at: number;
  /** The earliest time at which one of them was used first; null if none was. */
  first_used_at: number | null;
}

/** Counts the DEKs that are not destroyed. Reads a row for each. */
export async function countDeks(db: Queryable): Promise<DekCount[]> {
  return db.query<DekCount>(
    `select kek_version, state, count(*) as n, min(created_at) as created_at, min(first_used_at) as first_used_at
       from dek
      where wrapped is not null
      group by kek_version, state
      order by kek_version, state`,
  );
}

/** The rotations that are running or paused, and when the first of them was started. */
export async function countOpenRotations(db: Queryable): Promise<{ open: number; started_at: number | null }> {
  const [row] = await db.query<{ open: number; started_at: number | null }>(
    `select count(*) as open, min(started_at) as started_at
       from rotation
      where finished_at is null`,
  );
  return row!;
}

/** How many events of changes wait for the audit log. */
export async function countOutbox(db: Queryable): Promise<number> {
  const [row] = await db.query<{ n: number }>(`select count(*) as n from outbox`);
  return row!.n;
}
