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

/** The rotation of a kind that a principal started last; undefined if there was none. */
export async function findLastRotationBy(
  db: Queryable,
  kind: RotationKind,
  startedBy: string,
): Promise<Pick<RotationRow, 'started_at' | 'finished_at'> | undefined> {
  const [row] = await db.query<Pick<RotationRow, 'started_at' | 'finished_at'>>(
    `select started_at, finished_at
       from rotation
      where kind = $1
        and started_by = $2
      order by started_at desc
      limit 1`,
    [kind, startedBy],
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

/** Ends a rotation that is running or paused. */
export async function endRotation(
  tx: Transaction,
  { id, state, counts, at }: { id: string; state: 'finished' | 'cancelled'; counts: RotationCounts; at: number },
): Promise<void> {
  await tx.query(
    `update rotation
        set state = $2,
            total = $3,
            done = $4,
            failed = $5,
            finished_at = $6
      where id = $1
        and finished_at is null`,
    [id, state, counts.total, counts.done, counts.failed, at],
  );
}

/** Rows, or DEKs, of a rotation. */
export interface RotationCounts {
  total: number;
  done: number;
  failed: number;
}

/** Pauses a running rotation. */
export async function pauseRotation(tx: Transaction, { id, at }: { id: string; at: number }): Promise<void> {
  await tx.query(`update rotation set state = 'paused', paused_at = $2 where id = $1 and state = 'running'`, [id, at]);
}

/** Lets a paused rotation run again. A clock that was set back adds nothing to the time of the pause. */
export async function resumeRotation(tx: Transaction, { id, at }: { id: string; at: number }): Promise<void> {
  await tx.query(
    `update rotation
        set state = 'running',
            paused_ms = paused_ms + case when paused_at < $2 then $2 - paused_at else 0 end,
            paused_at = null
      where id = $1
        and state = 'paused'`,
    [id, at],
  );
}

/** Notes the KEK that a rotation has made, and how many DEKs are to be rewrapped. False if it is noted already. */
export async function setKekVersion(
  tx: Transaction,
  { id, kekVersion, total }: { id: string; kekVersion: number; total: number },
): Promise<boolean> {
  const rows = await tx.query(
    `update rotation
        set kek_version = $2,
            total = $3
      where id = $1
        and kek_version is null
     returning id`,
    [id, kekVersion, total],
  );
  return rows.length === 1;
}

/** Counts the DEKs of a page of a KEK rotation. `failed` is how many have failed in all; undefined leaves it. */
export async function addRewrapped(
  tx: Transaction,
  { id, done, failed = null }: { id: string; done: number; failed?: number | null },
): Promise<void> {
  await tx.query(`update rotation set done = done + $2, failed = coalesce($3, failed) where id = $1`, [
    id,
    done,
    failed,
  ]);
}

/** Rotations of one kind that run, the oldest first. */
export async function listRunning(db: Queryable, kind: RotationKind, limit: number): Promise<{ id: string }[]> {
  return db.query<{ id: string }>(
    `select id
       from rotation
      where finished_at is null
        and state = 'running'
        and kind = $1
      order by started_at, id
      limit $2`,
    [kind, limit],
  );
}

/** Rotations by the time of their start, the newest first. */
export async function listRotationRows(
  db: Queryable,
  { before, limit }: { before: { startedAt: number; id: string }; limit: number },
): Promise<RotationRow[]> {
  return db.query<RotationRow>(
    `select id, kind, state, vault_id, kek_version, total, done, failed, started_at, started_by, paused_at, paused_ms,
            finished_at
       from rotation
      where (started_at, id) < ($1, $2)
      order by started_at desc, id desc
      limit $3`,
    [before.startedAt, before.id, limit],
  );
}

/** Lets a finished KEK rotation run again, because a DEK was stored under an older KEK after its end. */
export async function reopenRotation(tx: Transaction, id: string): Promise<void> {
  await tx.query(`update rotation set state = 'running', finished_at = null where id = $1 and state = 'finished'`, [
    id,
  ]);
}

/** The rotation that made a KEK version; undefined if the database does not know it. */
export async function findRotationOfKek(
  db: Queryable,
  kekVersion: number,
): Promise<Pick<RotationRow, 'id' | 'state'> | undefined> {
  const [row] = await db.query<Pick<RotationRow, 'id' | 'state'>>(
    `select id, state
       from rotation
      where kind = 'kek'
        and kek_version = $1
      order by started_at desc
      limit 1`,
    [kekVersion],
  );
  return row;
}
