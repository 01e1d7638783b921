import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { authorize } from '../authorize.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import { getReadable } from './readable.ts';
import { lockSecret } from './secret-store.ts';
import { openVersionInTransaction } from './sealing.ts';
import { writeVersion } from './write-version.ts';
import type { PutOutcome, Write } from './write-version.ts';

/** Stores the value of an old version as the newest one. @throws AppError `not_found`, `gone`, `precondition_failed` */
export async function rollbackSecret(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string; version: number },
  conditions: Conditions,
): Promise<Audited<PutOutcome>> {
  const allowed = await authorize(ctx, caller, 'secret.write', ref);
  const { vault, rule } = allowed;
  const { name, version } = ref;
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    // Before the old version is read: it may be destroyed or removed until the secret is locked.
    await lockSecret(tx, { vaultId: vault.id, name });
    const old = await getReadable(ctx, tx, { vaultId: vault.id, name, version });
    const bytes = openVersionInTransaction(ctx, { vault, name, secretId: old.secret_id, version }, old);
    const value = { bytes, encoding: old.encoding, contentType: old.content_type ?? undefined };
    // The new version keeps the expiry of the old one, so a rollback does not extend the life of a value.
    const options = { expiresAt: old.expires_at ?? undefined };
    const write: Write = { vault, rule, action: 'secret.rollback', name, value, options, conditions, isStored: true };
    const { outcome, facts } = await writeVersion(ctx, tx, caller, write).finally(() => bytes.fill(0));
    const [first, ...rest] = facts;
    return { value: outcome, facts: [{ ...first, reason: `to the value of version ${version}` }, ...rest] };
  });
}
