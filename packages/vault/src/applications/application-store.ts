import type { Queryable, Transaction } from '@cardea/storage/db';
import { principalLock } from '../locks.ts';

export interface ApplicationRow {
  id: string;
  name: string;
  description: string;
  allowed_cidrs: string;
  disabled: number;
  expires_at: number | null;
  announce_at: number | null;
  created_at: number;
}

export interface CredentialRow {
  id: string;
  /** Null if it does not expire. */
  expires_at: number | null;
  created_at: number;
  last_used_at: number | null;
}

export async function findApplication(db: Queryable, name: string): Promise<ApplicationRow | undefined> {
  const [row] = await db.query<ApplicationRow>(
    `select id, name, description, allowed_cidrs, disabled, expires_at, announce_at, created_at
       from application
      where name = $1`,
    [name],
  );
  return row;
}

export async function findApplicationById(db: Queryable, id: string): Promise<{ name: string } | undefined> {
  const [row] = await db.query<{ name: string }>(`select name from application where id = $1`, [id]);
  return row;
}

/** Applications after a name, by name. */
export async function listApplicationRows(
  db: Queryable,
  { after, limit }: { after: string; limit: number },
): Promise<ApplicationRow[]> {
  return db.query<ApplicationRow>(
    `select id, name, description, allowed_cidrs, disabled, expires_at, announce_at, created_at
       from application
      where name > $1
      order by name
      limit $2`,
    [after, limit],
  );
}

export async function insertApplication(
  tx: Transaction,
  application: ApplicationRow & { created_by: string },
): Promise<void> {
  await tx.query(
    `insert into application
            (id, name, description, allowed_cidrs, disabled, expires_at, announce_at, created_at, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      application.id,
      application.name,
      application.description,
      application.allowed_cidrs,
      application.disabled,
      application.expires_at,
      application.announce_at,
      application.created_at,
      application.created_by,
    ],
  );
}

export async function updateApplication(tx: Transaction, application: ApplicationRow): Promise<void> {
  await tx.lock(principalLock(`application:${application.id}`));
  await tx.query(
    `update application
        set description = $2,
            allowed_cidrs = $3,
            disabled = $4,
            expires_at = $5,
            announce_at = $6
      where id = $1`,
    [
      application.id,
      application.description,
      application.allowed_cidrs,
      application.disabled,
      application.expires_at,
      application.announce_at,
    ],
  );
}

export async function deleteApplicationRow(tx: Transaction, id: string): Promise<void> {
  await tx.lock(principalLock(`application:${id}`));
  await tx.query(`delete from application where id = $1`, [id]);
}

/** An application's credentials after an id, by id. */
export async function listCredentialRows(
  db: Queryable,
  { applicationId, after, limit }: { applicationId: string; after: string; limit: number },
): Promise<CredentialRow[]> {
  return db.query<CredentialRow>(
    `select id, expires_at, created_at, last_used_at
       from application_credential
      where application_id = $1
        and id > $2
      order by id
      limit $3`,
    [applicationId, after, limit],
  );
}

/** How many credentials of an application have not expired. */
export async function countValidCredentials(
  tx: Transaction,
  { applicationId, now }: { applicationId: string; now: number },
): Promise<number> {
  const [row] = await tx.query<{ n: number }>(
    `select count(*) as n
       from application_credential
      where application_id = $1
        and (expires_at is null or expires_at > $2)`,
    [applicationId, now],
  );
  return row!.n;
}

export interface NewCredential {
  id: string;
  applicationId: string;
  secretHash: Uint8Array;
  expiresAt: number | null;
  /** When the expiry must be announced next. */
  announceAt: number | null;
  createdAt: number;
}

export async function insertCredential(tx: Transaction, credential: NewCredential): Promise<void> {
  const { id, applicationId, secretHash, expiresAt, announceAt, createdAt } = credential;
  await tx.query(
    `insert into application_credential
            (id, application_id, secret_hash, expires_at, announce_at, created_at, last_used_at)
     values ($1, $2, $3, $4, $5, $6, null)`,
    [id, applicationId, secretHash, expiresAt, announceAt, createdAt],
  );
}

/** Deletes by both ids, so that one application's path never reaches another application's secret (CVE-2023-24999). */
export async function deleteCredentialRow(
  tx: Transaction,
  { id, applicationId }: { id: string; applicationId: string },
): Promise<Pick<CredentialRow, 'id' | 'expires_at'> | undefined> {
  await tx.lock(principalLock(`application:${applicationId}`));
  const [deleted] = await tx.query<Pick<CredentialRow, 'id' | 'expires_at'>>(
    `delete from application_credential
      where id = $1
        and application_id = $2
     returning id, expires_at`,
    [id, applicationId],
  );
  return deleted;
}

export async function touchCredential(tx: Transaction, id: string, usedAt: number): Promise<void> {
  await tx.query(`update application_credential set last_used_at = $2 where id = $1`, [id, usedAt]);
}

/** A credential with the current state of its application. */
export interface CredentialOwner extends Pick<
  ApplicationRow,
  'id' | 'name' | 'allowed_cidrs' | 'disabled' | 'expires_at'
> {
  credential_id: string;
  credential_expires_at: number | null;
}

export async function findBySecretHash(db: Queryable, secretHash: Uint8Array): Promise<CredentialOwner | undefined> {
  const [row] = await db.query<CredentialOwner>(
    `select c.id as credential_id, c.expires_at as credential_expires_at,
            a.id, a.name, a.description, a.allowed_cidrs, a.disabled, a.expires_at, a.created_at
       from application_credential c
       join application a on a.id = c.application_id
      where c.secret_hash = $1`,
    [secretHash],
  );
  return row;
}

export async function findByCredentialId(db: Queryable, credentialId: string): Promise<CredentialOwner | undefined> {
  const [row] = await db.query<CredentialOwner>(
    `select c.id as credential_id, c.expires_at as credential_expires_at,
            a.id, a.name, a.description, a.allowed_cidrs, a.disabled, a.expires_at, a.created_at
       from application_credential c
       join application a on a.id = c.application_id
      where c.id = $1`,
    [credentialId],
  );
  return row;
}
