import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Transaction } from '@cardea/storage/db';
import type { Allowed } from './authorize.ts';
import type { VaultContext } from './context.ts';
import { changeSealed } from './deks/change-sealed.ts';
import { REFERENCES_LOCK, vaultLock } from './locks.ts';
import type { ChangeOutcome } from './record.ts';

/** What a change of secrets relies on. */
export interface VaultChange {
  /** The rights that it needs, one for each vault. They are confirmed in the transaction. */
  rights: Allowed[];
  /** True for a change of many secrets: other changes of these vaults wait, and reads go on. */
  whole?: boolean;
  /** True if it may write a reference. */
  references?: boolean;
}

/**
 * Changes secrets in vaults that the caller was allowed to change, in a `lockingTransaction` that confirms the rights.
 * `work` must read a secret that it changes by `lockSecret` and its kind. A rotation of the vault's DEK, the deletion of
 * the vault and a withdrawal of the rights come before or after the change as a whole.
 * @throws what `changeSealed` throws
 */
export function changeInVaults<T>(
  ctx: VaultContext,
  caller: Caller,
  { rights, whole = false, references = false }: VaultChange,
  work: (tx: Transaction) => Promise<ChangeOutcome<T>>,
): Promise<Audited<T>> {
  const vaults = rights.map(({ vault }) => vaultLock(vault.id));
  const alone = [...(whole ? vaults : []), ...(references ? [REFERENCES_LOCK] : [])];
  const vaultLocks = { shared: whole ? [] : vaults, exclusive: alone };
  return changeSealed(ctx, caller, work, { rights, vaultLocks });
}
