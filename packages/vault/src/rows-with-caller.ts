import type { Caller } from '@cardea/contracts/caller';
import { MINUTE_MS } from '@cardea/contracts/durations';
import type { SqlValue } from '@cardea/storage/db';
import { toGrantedOrNone } from './access-store.ts';
import type { GrantedIn, NoGrantColumns, VaultRow } from './access-store.ts';
import type { CredentialOwner } from './applications/application-store.ts';
import { callerOfFoundCredential } from './applications/live-credential.ts';
import type { VaultContext } from './context.ts';
import { callerOfFoundSession } from './users/live-session.ts';
import type { SessionState } from './users/session-store.ts';

/** The two statements of a `findRowsWithCaller`: for the session of a user, and for the credential of an application. */
export interface StatementsWithCaller {
  ofUser: string;
  ofApplication: string;
}

/** What a request asks for. The parameters of a statement are its account, these, and a time soon. */
export interface AskedRows {
  vault: string;
  name: string;
  /** The fourth parameter. */
  more: SqlValue;
}

/** What is found together with a caller. All columns of `Row` are null if the statement has touched no row. */
export interface RowsWithCaller<Row> {
  /** The vault, and what the caller was granted in it. Undefined if there is no such vault. */
  grantedIn: GrantedIn | undefined;
  row: Row | undefined;
}

/**
 * The caller as their account is now, their grant in the vault, and the row that they ask for, found by one statement. So
 * a request waits for the database once, and nothing is newer than the right to it. Decides nothing about the vault.
 * @throws AppError `unauthenticated` as `callerNow`
 */
export async function findRowsWithCaller<Row>(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  claimed: Caller,
  statements: StatementsWithCaller,
  asked: AskedRows,
): Promise<{ caller: Caller; found: RowsWithCaller<Row> }> {
  const { id, session, credential } = claimed.actor;
  if (session !== undefined) {
    const row = await findRow<SessionColumns>(ctx, statements.ofUser, session, asked);
    const caller = callerOfFoundSession(ctx, claimed, row && { ...row, expires_at: row.session_expires_at });
    return { caller, found: toRows(row!) };
  }
  if (credential !== undefined) {
    const row = await findRow<CredentialColumns>(ctx, statements.ofApplication, credential, asked);
    const owner = row && { ...row, allowed_cidrs: row.account_cidrs, expires_at: row.account_expires_at };
    const caller = await callerOfFoundCredential(ctx, claimed, { applicationId: id, owner });
    return { caller, found: toRows(row!) };
  }
  throw new TypeError('a caller without an account has no rows');
}

async function findRow<Account>(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  sql: string,
  account: string,
  { vault, name, more }: AskedRows,
): Promise<(Account & FoundColumns) | undefined> {
  // Whole minutes, so that equal requests stay equal statements: see `SharedReads` and `ReadMemo`.
  const soon = (Math.floor(ctx.now().getTime() / MINUTE_MS) + 1) * MINUTE_MS;
  const [row] = await ctx.db.query<Account & FoundColumns>(sql, [account, vault, name, more, soon]);
  return row;
}

type SessionColumns = Omit<SessionState, 'expires_at'> & { session_expires_at: number };

type CredentialColumns = Omit<CredentialOwner, 'allowed_cidrs' | 'expires_at'> & {
  account_cidrs: string;
  account_expires_at: number | null;
};

/** The columns beside those of the account. All of them are null if there is no such vault. */
type FoundColumns = Omit<VaultRow, 'id' | 'name' | 'created_at'> &
  Omit<NoGrantColumns, 'expires_at'> & {
    vault_id: string | null;
    vault_name: string;
    vault_created_at: number;
    grant_expires_at: number | null;
  };

function toRows<Row>(found: FoundColumns): RowsWithCaller<Row> {
  if (found.vault_id === null) return { grantedIn: undefined, row: undefined };
  const {
    vault_id: id,
    vault_name: name,
    description,
    max_versions,
    public_jwks,
    vault_created_at: created_at,
  } = found;
  const granted = toGrantedOrNone({ ...found, expires_at: found.grant_expires_at });
  return {
    grantedIn: { vault: { id, name, description, max_versions, public_jwks, created_at }, granted },
    row: found as Row,
  };
}

/**
 * Makes the statements of `findRowsWithCaller`. `columns` are those of the row, which `join` joins under `condition`, with
 * `further` joins behind it. The parameters: $1 the session or the credential, $2 the name of the vault, $3 the name in
 * it, $4 what the feature likes, $5 a time soon.
 *
 * The row is looked up only for a caller who may see it without doubt: `byGrant` says so of a grant. For everybody else the
 * statement does the same work whether the row exists or not, so its time says nothing. The condition gives no right:
 * `decide` does, and a caller whom it allows although the condition does not (a network is not looked at here) waits for
 * a second statement.
 */
export function statementsWithCaller({
  columns,
  join,
  byGrant,
  further,
}: {
  columns: string;
  join: string;
  byGrant: string;
  further: string;
}): StatementsWithCaller {
  const found = `v.id as vault_id, v.name as vault_name, v.description, v.max_versions, v.public_jwks, v.created_at as vault_created_at,
            g.owner, g.secrets, g.keys, g.allowed_cidrs, g.path_prefix, g.key_prefix, g.expires_at as grant_expires_at,
            ${columns}`;
  const mayByGrant = `${byGrant}
                       and g.allowed_cidrs = '[]'
                       and (g.expires_at is null or g.expires_at > $5)`;
  return {
    ofUser: `select l.id, l.user_id, l.expires_at as session_expires_at, l.ended_at,
            u.username, u.role, u.password_state, u.disabled, u.expires_at as user_expires_at,
            ${found}
       from session l
       join app_user u on u.id = l.user_id
       left join vault v on v.name = $2
       left join vault_grant g on g.vault_id = v.id and g.principal = 'user:' || l.user_id
       ${join}
                       and l.ended_at is null
                       and l.expires_at > $5
                       and u.disabled = 0
                       and u.password_state = 'chosen'
                       and (u.expires_at is null or u.expires_at > $5)
                       and (u.role = 'admin' or u.role = 'developer' and ${mayByGrant})
       ${further}
      where l.id = $1`,
    ofApplication: `select c.id as credential_id, c.expires_at as credential_expires_at,
            a.id, a.name, a.disabled, a.allowed_cidrs as account_cidrs, a.expires_at as account_expires_at,
            ${found}
       from application_credential c
       join application a on a.id = c.application_id
       left join vault v on v.name = $2
       left join vault_grant g on g.vault_id = v.id and g.principal = 'application:' || a.id
       ${join}
                       and a.disabled = 0
                       and a.allowed_cidrs = '[]'
                       and (a.expires_at is null or a.expires_at > $5)
                       and (c.expires_at is null or c.expires_at > $5)
                       and ${mayByGrant}
       ${further}
      where c.id = $1`,
  };
}
