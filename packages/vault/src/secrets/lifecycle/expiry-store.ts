import type { Queryable, Transaction } from '@cardea/storage/db';
import type { SecretRow } from '../secret-store.ts';

/** A secret with something due, and the name of its vault. */
export type DueSecret = Pick<SecretRow, 'id' | 'vault_id' | 'name' | 'current_version'> & {
  vault_name: string;
};

// Each list joins the vault. Another sweep soon removes the secrets of a deleted vault. This sweep can do nothing with
// them, so they would be listed again and again.

/** Secrets that have not expired yet and whose expiry must be announced by now. */
export async function listToAnnounce(
  db: Queryable,
  { now, limit }: { now: number; limit: number },
): Promise<{ id: string }[]> {
  return db.query<{ id: string }>(
    `select s.id
       from secret s
       join vault v on v.id = s.vault_id
      where s.announce_at <= $1
        and s.due_at > $1
      order by s.announce_at
      limit $2`,
    [now, limit],
  );
}

/** Secrets that have expired as a whole. */
export async function listExpiredSecrets(
  db: Queryable,
  { now, limit }: { now: number; limit: number },
): Promise<{ id: string }[]> {
  return db.query<{ id: string }>(
    `select s.id
       from secret s
       join vault v on v.id = s.vault_id
      where s.expires_at <= $1
      order by s.expires_at
      limit $2`,
    [now, limit],
  );
}

/** Versions that have expired and still have a value. */
export async function listExpiredVersions(
  db: Queryable,
  { now, limit }: { now: number; limit: number },
): Promise<{ secret_id: string; version: number }[]> {
  return db.query<{ secret_id: string; version: number }>(
    `select e.secret_id, e.version
       from secret_version e
       join secret s on s.id = e.secret_id
       join vault v on v.id = s.vault_id
      where e.expires_at <= $1
        and e.ciphertext is not null
      order by e.expires_at
      limit $2`,
    [now, limit],
  );
}

/** A secret by its id, with the name of its vault. */
export async function findDueSecret(
  tx: Transaction,
  id: string,
): Promise<(DueSecret & Pick<SecretRow, 'expires_at' | 'due_at' | 'announce_at'>) | undefined> {
  const [row] = await tx.query<DueSecret & Pick<SecretRow, 'expires_at' | 'due_at' | 'announce_at'>>(
    `select s.id, s.vault_id, s.name, s.current_version, s.expires_at, s.due_at, s.announce_at,
            v.name as vault_name
       from secret s
       join vault v on v.id = s.vault_id
      where s.id = $1`,
    [id],
  );
  return row;
}

export async function setAnnouncement(
  tx: Transaction,
  { id, announceAt }: { id: string; announceAt: number | null },
): Promise<void> {
  await tx.query(`update secret set announce_at = $2 where id = $1`, [id, announceAt]);
}
