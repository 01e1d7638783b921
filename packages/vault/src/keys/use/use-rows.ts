import type { Caller } from '@cardea/contracts/caller';
import type { VaultAction } from '@cardea/contracts/grants';
import type { GrantedIn } from '../../access-store.ts';
import type { VaultContext } from '../../context.ts';
import { findRowsWithCaller, statementsWithCaller } from '../../rows-with-caller.ts';
import type { KeyRef } from '../key.ts';
import type { KeyForUse } from '../key-version-store.ts';

/** What a use of a key relies on, as it was in one moment; see `findCallerAndKey`. */
export interface UseRows {
  /** The vault, and what the caller was granted in it. Undefined if there is no such vault. */
  grantedIn: GrantedIn | undefined;
  /** The newest version. Undefined if there is no such key, or if the statement could not tell that the caller may use it. */
  newest: KeyForUse | undefined;
}

/** Names a key that is used. */
export interface UsedKeyRef extends KeyRef {
  /** What was found together with the caller. Looked up when the key is used otherwise. */
  found?: UseRows | undefined;
}

/**
 * The caller as their account is now, and the newest version of the key that they want to use, found by one statement:
 * encryptions and signatures wait for the database once. Decides nothing about the vault.
 * @throws AppError `unauthenticated` as `callerNow`
 */
export async function findCallerAndKey(
  ctx: Pick<VaultContext, 'db' | 'now'>,
  claimed: Caller,
  ref: KeyRef,
  right: VaultAction,
): Promise<{ caller: Caller; found: UseRows }> {
  const [, verb] = right.split('.');
  const asked = { vault: ref.vault, name: ref.name, more: `%"${verb}"%` };
  const { caller, found } = await findRowsWithCaller<FoundKey>(ctx, claimed, STATEMENTS, asked);
  const { grantedIn, row } = found;
  if (!row || row.key_id === null) return { caller, found: { grantedIn, newest: undefined } };
  const { algorithm, exportable, derivation, current_version, min_encrypt_version, min_decrypt_version } = row;
  const key = { algorithm, exportable, derivation, current_version, min_encrypt_version, min_decrypt_version };
  const { key_id: id, delete_at, version, state, ciphertext, encryptions } = row;
  return { caller, found: { grantedIn, newest: { id, ...key, delete_at, version, state, ciphertext, encryptions } } };
}

type FoundKey = Omit<KeyForUse, 'id'> & { key_id: string | null };

const STATEMENTS = statementsWithCaller({
  columns: `k.id as key_id, k.algorithm, k.exportable, k.derivation, k.current_version, k.min_encrypt_version,
            k.min_decrypt_version, k.delete_at, w.version, w.state, w.ciphertext, w.encryptions`,
  join: 'left join vault_key k on k.vault_id = v.id and k.name = $3',
  byGrant: `(g.owner = 1 or g.keys like $4)
                       and (g.key_prefix is null or g.key_prefix = substr($3, 1, length(g.key_prefix)))`,
  further: 'left join key_version w on w.key_id = k.id and w.version = k.current_version',
});
