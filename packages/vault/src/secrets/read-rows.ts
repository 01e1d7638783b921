import type { Caller } from '@cardea/contracts/caller';
import type { GrantedIn } from '../access-store.ts';
import type { VaultContext } from '../context.ts';
import { findRowsWithCaller, statementsWithCaller } from '../rows-with-caller.ts';
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
  const asked = { vault: ref.vault, name: ref.name, more: ref.version ?? null };
  const { caller, found } = await findRowsWithCaller<FoundSecret>(ctx, claimed, STATEMENTS, asked);
  const { grantedIn, row } = found;
  const isFound = row !== undefined && row.current_version !== null;
  return { caller, found: { grantedIn, secret: isFound ? (row as ReadableRow | MissingVersion) : undefined } };
}

type FoundSecret = Omit<ReadableRow, 'version'> & { version: number | null; current_version: number | null };

const STATEMENTS = statementsWithCaller({
  columns: `s.current_version, s.metadata, s.expires_at as secret_expires_at,
            w.secret_id, w.version, w.ciphertext, w.encoding, w.content_type, w.expires_at, w.created_at, w.deleted_at`,
  join: 'left join secret s on s.vault_id = v.id and s.name = $3',
  byGrant: `(g.owner = 1 or g.secrets like '%"read"%')
                       and (g.path_prefix is null
                            or g.path_prefix = $3
                            or g.path_prefix || '/' = substr($3, 1, length(g.path_prefix) + 1))`,
  further: 'left join secret_version w on w.secret_id = s.id and w.version = coalesce($4, s.current_version)',
});
