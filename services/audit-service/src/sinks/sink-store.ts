import type { Db, Queryable } from '@cardea/storage/db';

/** A row of `audit_sink`. */
export interface SinkRow {
  name: string;
  settings: string;
  next_seq: number;
}

export function listSinks(db: Queryable): Promise<SinkRow[]> {
  return db.query<SinkRow>('select name, settings, next_seq from audit_sink order by name');
}

/** Makes or changes a sink. A new one begins with the first entry. */
export async function putSink(db: Db, name: string, settings: string): Promise<void> {
  await db.lockingTransaction({}, (tx) =>
    tx.query(
      `insert into audit_sink (name, settings, next_seq)
       values ($1, $2, 0)
       on conflict (name) do update set settings = excluded.settings`,
      [name, settings],
    ),
  );
}

export async function removeSink(db: Db, name: string): Promise<void> {
  await db.lockingTransaction({}, (tx) => tx.query('delete from audit_sink where name = $1', [name]));
}

/** Stores that a sink has every entry before `to`. @throws Error if another process has moved its position */
export async function moveSink(db: Db, name: string, { from, to }: { from: number; to: number }): Promise<void> {
  const moved = await db.lockingTransaction({}, (tx) =>
    tx.query(
      `update audit_sink
          set next_seq = $1
        where name = $2
          and next_seq = $3
        returning next_seq`,
      [to, name, from],
    ),
  );
  if (moved.length !== 1) throw new Error(`the sink ${name} is no longer at ${from}: another process moved it`);
}
