import type { Db, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import type { DuePage } from '../../sweep.ts';

/**
 * Secrets with versions in the trash, if the last of these was put there at `now` or earlier: `at` is when that was.
 * Leaves out deleted vaults, as the lists of expired secrets do.
 */
export async function listTrashToPurge(
  db: Db,
  { now, after = { at: 0, id: '' }, limit }: DuePage<{ at: number; id: string }>,
): Promise<{ at: number; id: string }[]> {
  return db.query<{ at: number; id: string }>(
    `select trashed_at as at, id
       from secret
      where trashed_at > 0
        and trashed_at <= $1
        and (trashed_at, id) > ($2, $3)
        and (select v.id from vault v where v.id = secret.vault_id) is not null
      order by trashed_at, id
      limit $4`,
    [now, after.at, after.id, limit],
  );
}

export interface TrashedSecret {
  id: string;
  vault_id: string;
  vault_name: string;
  name: string;
  current_version: number;
  /** 1 if some version is not in the trash. */
  live: number;
}

/** Those of the secrets that have versions in the trash, all of them put there at `before` or earlier. */
export async function findTrashed(
  tx: Transaction,
  engine: Db['engine'],
  { ids, before }: { ids: string[]; before: number },
): Promise<TrashedSecret[]> {
  return tx.query<TrashedSecret>(
    `select s.id, s.vault_id, v.name as vault_name, s.name, s.current_version, s.live
       from secret s
       join vault v on v.id = s.vault_id
      where s.id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and s.trashed_at <= $2
      order by s.trashed_at, s.id`,
    [inJson(ids), before],
  );
}

/** Removes the versions of the secrets that are in the trash. Returns the newest of them by the id of the secret. */
export async function removeAllTrashed(
  tx: Transaction,
  engine: Db['engine'],
  ids: string[],
): Promise<Map<string, number>> {
  const rows = await tx.query<{ secret_id: string; version: number }>(
    `delete from secret_version
      where secret_id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and deleted_at is not null
     returning secret_id, version`,
    [inJson(ids)],
  );
  const newest = new Map<string, number>();
  for (const { secret_id: id, version } of rows) newest.set(id, Math.max(version, newest.get(id) ?? 0));
  return newest;
}

/** Notes that secrets which have other versions have none in the trash any more. */
export async function keepLive(tx: Transaction, engine: Db['engine'], ids: string[]): Promise<void> {
  await tx.query(
    `update secret
        set trashed_at = null
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [inJson(ids)],
  );
}

/** Removes secrets that have no version left, and gives up their names. */
export async function purgeSecrets(tx: Transaction, engine: Db['engine'], secrets: TrashedSecret[]): Promise<void> {
  await tx.query(
    `insert into given_up_name (vault_id, name, version)
     select value ->> 0, value ->> 1, cast(value ->> 2 as bigint)
       from ${jsonRows(engine, '$1')}
      where true
     on conflict (vault_id, name) do update
        set version = case when excluded.version > given_up_name.version then excluded.version
                           else given_up_name.version end`,
    [JSON.stringify(secrets.map(({ vault_id, name, current_version }) => [vault_id, name, current_version]))],
  );
  // The rows of the search index go with the secret.
  await tx.query(
    `delete from secret
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})`,
    [inJson(secrets.map(({ id }) => id))],
  );
}

function inJson(ids: string[]): string {
  return JSON.stringify(ids.map((id) => [id]));
}
