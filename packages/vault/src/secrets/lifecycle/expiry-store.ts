import type { Db, Transaction } from '@cardea/storage/db';
import { jsonRows } from '@cardea/storage/json-rows';
import type { DuePage } from '../../sweep.ts';

/** A secret with something due. */
export interface DueSecret {
  at: number;
  id: string;
}

/** A version that has expired. */
export interface DueVersion {
  at: number;
  secret_id: string;
  version: number;
}

const FIRST = { at: 0, id: '' };
const FIRST_VERSION = { at: 0, secret_id: '', version: 0 };

// Each list leaves out the secrets of deleted vaults: another sweep soon removes them. PostgreSQL expects that nearly all
// rows pass `is not null`, so it reads a page in the order of the index. With a join, or another condition, it would
// expect few rows and sort all that are due, for each page.

/** Secrets that have not expired yet and whose expiry must be announced by now. */
export async function listToAnnounce(db: Db, { now, after = FIRST, limit }: DuePage<DueSecret>): Promise<DueSecret[]> {
  return db.query<DueSecret>(
    `select announce_at as at, id
       from secret
      where announce_at <= $1
        and (announce_at, id) > ($2, $3)
        and due_at > $1
        and (select v.id from vault v where v.id = secret.vault_id) is not null
      order by announce_at, id
      limit $4`,
    [now, after.at, after.id, limit],
  );
}

/** Secrets that have expired as a whole. */
export async function listExpiredSecrets(
  db: Db,
  { now, after = FIRST, limit }: DuePage<DueSecret>,
): Promise<DueSecret[]> {
  return db.query<DueSecret>(
    `select expires_at as at, id
       from secret
      where expires_at <= $1
        and (expires_at, id) > ($2, $3)
        and (select v.id from vault v where v.id = secret.vault_id) is not null
      order by expires_at, id
      limit $4`,
    [now, after.at, after.id, limit],
  );
}

/** Versions that have expired and still have a value. */
export async function listExpiredVersions(
  db: Db,
  { now, after = FIRST_VERSION, limit }: DuePage<DueVersion>,
): Promise<DueVersion[]> {
  return db.query<DueVersion>(
    `select expires_at as at, secret_id, version
       from secret_version
      where expires_at <= $1
        and (expires_at, secret_id, version) > ($2, $3, $4)
        and ciphertext is not null
        and (select v.id from vault v where v.id = secret_version.vault_id) is not null
      order by expires_at, secret_id, version
      limit $5`,
    [now, after.at, after.secret_id, after.version, limit],
  );
}

/** A version, as records and events name it. */
export interface NamedVersion {
  secret_id: string;
  vault_id: string;
  vault_name: string;
  name: string;
  version: number;
  due_at: number;
}

/** The newest versions of those listed secrets whose announcement is still due. */
export async function findToAnnounce(
  tx: Transaction,
  engine: Db['engine'],
  { ids, now }: { ids: string[]; now: number },
): Promise<NamedVersion[]> {
  return tx.query<NamedVersion>(
    `select s.id as secret_id, s.vault_id, v.name as vault_name, s.name, s.current_version as version, s.due_at
       from secret s
       join vault v on v.id = s.vault_id
      where s.id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and s.announce_at <= $2
        and s.due_at > $2
      order by s.announce_at, s.id`,
    [JSON.stringify(ids.map((id) => [id])), now],
  );
}

/** Those of the listed versions that are still due. `is_newest` is 1 for a newest version outside the trash. */
export async function findExpired(
  tx: Transaction,
  engine: Db['engine'],
  { versions, now }: { versions: DueVersion[]; now: number },
): Promise<(NamedVersion & { is_newest: number })[]> {
  return tx.query<NamedVersion & { is_newest: number }>(
    `select e.secret_id, s.vault_id, v.name as vault_name, s.name, e.version, e.expires_at as due_at,
            case when e.deleted_at is null and e.version = s.current_version then 1 else 0 end as is_newest
       from (select value ->> 0 as secret_id, cast(value ->> 1 as bigint) as version
               from ${jsonRows(engine, '$1')}) as listed
       join secret_version e on e.secret_id = listed.secret_id and e.version = listed.version
       join secret s on s.id = e.secret_id
       join vault v on v.id = s.vault_id
      where e.expires_at <= $2
        and e.ciphertext is not null
      order by e.expires_at, e.secret_id, e.version`,
    [JSON.stringify(versions.map(({ secret_id, version }) => [secret_id, version])), now],
  );
}

/** Sets when the expiry of each secret must be announced next. */
export async function setAnnouncements(
  tx: Transaction,
  engine: Db['engine'],
  announcements: { id: string; announceAt: number | null }[],
): Promise<void> {
  await tx.query(
    `update secret
        set announce_at = next.announce_at
       from (select value ->> 0 as id, cast(value ->> 1 as bigint) as announce_at
               from ${jsonRows(engine, '$1')}) as next
      where secret.id = next.id`,
    [JSON.stringify(announcements.map(({ id, announceAt }) => [id, announceAt]))],
  );
}

/**
 * Moves the expiry of those listed secrets that have expired to their versions, so that the next version starts without
 * one. Versions that expire sooner keep their own expiry. Returns how many secrets these were.
 */
export async function moveExpiriesToVersions(
  tx: Transaction,
  engine: Db['engine'],
  { ids, now }: { ids: string[]; now: number },
): Promise<number> {
  const listed = JSON.stringify(ids.map((id) => [id]));
  await tx.query(
    `update secret_version
        set expires_at = s.expires_at
       from secret s
      where s.id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and s.expires_at <= $2
        and secret_version.secret_id = s.id
        and coalesce(secret_version.expires_at, s.expires_at) >= s.expires_at`,
    [listed, now],
  );
  const rows = await tx.query(
    `update secret
        set expires_at = null
      where id in (select value ->> 0 from ${jsonRows(engine, '$1')})
        and expires_at <= $2
     returning id`,
    [listed, now],
  );
  return rows.length;
}

/** Destroys the values of versions. Their rows stay and say by whom, and when. */
export async function destroyExpired(
  tx: Transaction,
  engine: Db['engine'],
  { versions, at, by }: { versions: NamedVersion[]; at: number; by: string },
): Promise<void> {
  await tx.query(
    `update secret_version
        set ciphertext = null,
            dek_version = null,
            destroyed_at = $2,
            destroyed_by = $3
       from (select value ->> 0 as secret_id, cast(value ->> 1 as bigint) as version
               from ${jsonRows(engine, '$1')}) as expired
      where secret_version.secret_id = expired.secret_id
        and secret_version.version = expired.version`,
    [JSON.stringify(versions.map(({ secret_id, version }) => [secret_id, version])), at, by],
  );
}
