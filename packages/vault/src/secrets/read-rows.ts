import type { Caller } from '@cardea/contracts/caller';
import { MINUTE_MS } from '@cardea/contracts/durations';
import type { SqlValue } from '@cardea/storage/db';
import { toGranted } from '../access-store.ts';
import type { GrantColumns, VaultRow } from '../access-store.ts';
import type { CredentialOwner } from '../applications/application-store.ts';
import { callerOfFoundCredential } from '../applications/live-credential.ts';
import type { GrantedIn } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { callerOfFoundSession } from '../users/live-session.ts';
import type { SessionState } from '../users/session-store.ts';
import type { SecretRef } from './secret.ts';
import type { MissingVersion, ReadableRow } from './version-store.ts';

/**
 * What a read of a secret relies on, as it was in one moment: found by one statement, so a read waits for the database
 * once, and no value is newer than the right to it.
 */
export interface ReadRows {
  /** The vault, and what the caller was granted in it. Undefined if there is no such vault. */
  grantedIn: GrantedIn | undefined;
  /** Undefined if there is no such secret, or if the statement could not tell that the caller may read it. */
  secret: ReadableRow | MissingVersion | undefined;
}

/**
 * The caller as their account is now, and the rows of the secret that they ask for. Decides nothing about the vault.
 * @throws AppError `unauthenticated` as `callerNow`
 */
export async function findCallerAndRows(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  claimed: Caller,
  ref: SecretRef,
): Promise<{ caller: Caller; found: ReadRows }> {
  const { id, session, credential } = claimed.actor;
  if (session !== undefined) {
    const row = await findRow<SessionColumns>(ctx, OF_USER, { account: session, ref });
    const caller = callerOfFoundSession(ctx, claimed, row && { ...row, expires_at: row.session_expires_at });
    return { caller, found: toReadRows(row!) };
  }
  if (credential !== undefined) {
    const row = await findRow<CredentialColumns>(ctx, OF_APPLICATION, { account: credential, ref });
    const owner = row && { ...row, allowed_cidrs: row.account_cidrs, expires_at: row.account_expires_at };
    const caller = await callerOfFoundCredential(ctx, claimed, { applicationId: id, owner });
    return { caller, found: toReadRows(row!) };
  }
  throw new TypeError('a caller without an account reads nothing');
}

async function findRow<Account>(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  sql: string,
  { account, ref }: { account: string; ref: SecretRef },
): Promise<(Account & FoundColumns) | undefined> {
  // Whole minutes, so that equal reads stay equal statements: see `SharedReads` and `ReadMemo`.
  const soon = (Math.floor(ctx.now().getTime() / MINUTE_MS) + 1) * MINUTE_MS;
  const params: SqlValue[] = [account, ref.vault, ref.name, ref.version ?? null, soon];
  const [row] = await ctx.db.query<Account & FoundColumns>(sql, params);
  return row;
}

type SessionColumns = Omit<SessionState, 'expires_at'> & { session_expires_at: number };

type CredentialColumns = Omit<CredentialOwner, 'allowed_cidrs' | 'expires_at'> & {
  account_cidrs: string;
  account_expires_at: number | null;
};

/** The columns beside those of the account. All of them are null if there is no such vault. */
type FoundColumns = Omit<VaultRow, 'id' | 'name' | 'created_at'> &
  Omit<GrantColumns, 'owner' | 'expires_at'> & {
    vault_id: string | null;
    vault_name: string;
    vault_created_at: number;
    /** Null if the caller was granted nothing there. */
    owner: number | null;
    grant_expires_at: number | null;
  } & Omit<ReadableRow, 'version'> & { version: number | null; current_version: number | null };

function toReadRows(row: FoundColumns): ReadRows {
  if (row.vault_id === null) return { grantedIn: undefined, secret: undefined };
  const {
    vault_id: id,
    vault_name: name,
    description,
    max_versions,
    public_jwks,
    vault_created_at: created_at,
    owner,
  } = row;
  const granted = owner === null ? undefined : toGranted({ ...row, owner, expires_at: row.grant_expires_at });
  return {
    grantedIn: { vault: { id, name, description, max_versions, public_jwks, created_at }, granted },
    secret: row.current_version === null ? undefined : (row as ReadableRow | MissingVersion),
  };
}

// The secret is looked up only for a caller who may read it without doubt. For everybody else the statement does the same
// work whether the secret exists or not, so its time says nothing. This condition gives no right: `decide` does, and a
// caller whom it allows although the condition does not (a network is not looked at here) waits for a second statement.
const MAY_READ_BY_GRANT = `(g.owner = 1 or g.secrets like '%"read"%')
                       and g.allowed_cidrs = '[]'
                       and (g.expires_at is null or g.expires_at > $5)
                       and (g.path_prefix is null
                            or g.path_prefix = $3
                            or g.path_prefix || '/' = substr($3, 1, length(g.path_prefix) + 1))`;

const FOUND = `v.id as vault_id, v.name as vault_name, v.description, v.max_versions, v.public_jwks, v.created_at as vault_created_at,
            g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.expires_at as grant_expires_at,
            s.current_version, s.metadata, s.expires_at as secret_expires_at,
            w.secret_id, w.version, w.ciphertext, w.encoding, w.content_type, w.expires_at, w.created_at, w.deleted_at`;

const VERSION = `left join secret_version w on w.secret_id = s.id and w.version = coalesce($4, s.current_version)`;

const OF_USER = `select l.id, l.user_id, l.expires_at as session_expires_at, l.ended_at,
            u.username, u.role, u.password_state, u.disabled, u.expires_at as user_expires_at,
            ${FOUND}
       from session l
       join app_user u on u.id = l.user_id
       left join vault v on v.name = $2
       left join vault_grant g on g.vault_id = v.id and g.principal = 'user:' || l.user_id
       left join secret s on s.vault_id = v.id and s.name = $3
                       and l.ended_at is null
                       and l.expires_at > $5
                       and u.disabled = 0
                       and u.password_state = 'chosen'
                       and (u.expires_at is null or u.expires_at > $5)
                       and (u.role = 'admin' or u.role = 'developer' and ${MAY_READ_BY_GRANT})
       ${VERSION}
      where l.id = $1`;

const OF_APPLICATION = `select c.id as credential_id, c.expires_at as credential_expires_at,
            a.id, a.name, a.disabled, a.allowed_cidrs as account_cidrs, a.expires_at as account_expires_at,
            ${FOUND}
       from application_credential c
       join application a on a.id = c.application_id
       left join vault v on v.name = $2
       left join vault_grant g on g.vault_id = v.id and g.principal = 'application:' || a.id
       left join secret s on s.vault_id = v.id and s.name = $3
                       and a.disabled = 0
                       and a.allowed_cidrs = '[]'
                       and (a.expires_at is null or a.expires_at > $5)
                       and (c.expires_at is null or c.expires_at > $5)
                       and ${MAY_READ_BY_GRANT}
       ${VERSION}
      where c.id = $1`;
