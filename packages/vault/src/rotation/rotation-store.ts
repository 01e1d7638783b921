import type { Queryable, Transaction } from '@cardea/storage/db';

export type RotationKind = 'dek' | 'kek';
export type RotationState = 'running' | 'paused' | 'cancelled' | 'finished';

export interface RotationRow {
  id: string;
  kind: RotationKind;
  state: RotationState;
  /** The vault of a rotation of one vault; null for all vaults, and for the KEK. */
  vault_id: string | null;
  /** The version that a KEK rotation has made; null until then. */
  kek_version: number | null;
  total: number;
  done: number;
  failed: number;
  /** Milliseconds since 1970, as all times here. */
  started_at: number;
  /** A principal: `user:<id>`; `service:cardea` for the schedule. */
  started_by: string;
  paused_at: number | null;
  paused_ms: number;
  /** Null while it is running or paused. */
  finished_at: number | null;
}

/** A rotation by its id; undefined if it does not exist. */
export async function findRotation(db: Queryable, id: string): Promise<RotationRow | undefined> {
  const [row] = await db.query<RotationRow>(
    `select id, kind, state, vault_id, kek_version, total, done, failed, started_at, started_by, paused_at, paused_ms,
            finished_at
       from rotation
      where id = $1`,
    [id],
  );
  return row;
}

/** The KEK rotation that is running or paused; undefined if there is none. */
export async function findOpenKekRotation(db: Queryable): Promise<Pick<RotationRow, 'id'> | undefined> {
  const [row] = await db.query<Pick<RotationRow, 'id'>>(
    `select id
       from rotation
      where kind = 'kek'
        and finished_at is null`,
  );
  return row;
}

/** The rotation of a kind that started last; undefined if there was none. */
export async function findLastRotation(
  db: Queryable,
  kind: RotationKind,
): Promise<Pick<RotationRow, 'id' | 'started_at'> | undefined> {
  const [row] = await db.query<Pick<RotationRow, 'id' | 'started_at'>>(
    `select id, started_at
       from rotation
      where kind = $1
      order by started_at desc
      limit 1`,
    [kind],
  );
  return row;
}

/** A rotation that starts. */
export interface NewRotation {
  id: string;
  kind: RotationKind;
  vaultId: string | null;
  startedAt: number;
  startedBy: string;
}

/** Adds a running rotation. Returns false and adds nothing if another KEK rotation is open. */
export async function insertRotation(
  tx: Transaction,
  { id, kind, vaultId, startedAt, startedBy }: NewRotation,
): Promise<boolean> {
  const rows = await tx.query(
    `insert into rotation (id, kind, state, vault_id, total, done, failed, started_at, started_by, paused_ms)
     values ($1, $2, 'running', $3, 0, 0, 0, $4, $5, 0)
     on conflict do nothing
     returning id`,
    [id, kind, vaultId, startedAt, startedBy],
  );
  return rows.length === 1;
}
