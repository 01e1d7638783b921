import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import type { Conditions } from '@cardea/contracts/conditions';
import { AppError } from '@cardea/contracts/errors';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { authorize, principalOf } from '../authorize.ts';
import { requireConditions } from '../conditions.ts';
import type { VaultContext } from '../context.ts';
import { changeInVaults } from '../change-in-vaults.ts';
import type { EventFactsList } from '../record.ts';
import { lockLiveSecret } from './secret-state.ts';
import { updateSecret } from './secret-store.ts';
import type { SecretRow } from './secret-store.ts';
import { destroyVersion, findVersion } from './version-store.ts';

/**
 * Destroys the values of versions. Versions that have no value any more stay as they are.
 * @throws AppError `not_found`, `precondition_failed`
 */
export async function destroyVersions(
  ctx: VaultContext,
  caller: Caller,
  ref: { vault: string; name: string },
  { versions, conditions }: { versions: number[]; conditions: Conditions },
): Promise<Audited<{ name: string; destroyed: number[] }>> {
  const allowed = await authorize(ctx, caller, 'secret.destroy', ref);
  const { vault, rule } = allowed;
  const resource = { vault: vault.name, vaultId: vault.id, name: ref.name };
  return changeInVaults(ctx, caller, { rights: [allowed] }, async (tx) => {
    const secret = await lockLiveSecret(tx, { vaultId: vault.id, name: ref.name });
    requireConditions(conditions, secret.current_version);
    const [at, by] = [ctx.now().getTime(), principalOf(caller)];
    const destroyed: number[] = [];
    for (const version of new Set(versions)) {
      await requireOutsideTrash(tx, secret, version);
      if (await destroyVersion(tx, { secretId: secret.id, version, at, by })) destroyed.push(version);
    }
    // A destroyed value has no expiry to announce.
    if (destroyed.includes(secret.current_version)) {
      await updateSecret(tx, { ...secret, due_at: null, announce_at: null });
    }
    const [first, ...rest] = destroyed.map((version): EventFacts => ({
      action: 'secret.destroy',
      resource: { ...resource, version },
      rule,
    }));
    const facts: EventFactsList = [first ?? { action: 'secret.destroy', resource, rule, reason: 'unchanged' }, ...rest];
    return { value: { name: ref.name, destroyed }, facts };
  });
}

// A version without a row, but below the newest, was removed by the limit of versions. It counts as destroyed already.
async function requireOutsideTrash(tx: Transaction, secret: SecretRow, version: number): Promise<void> {
  const row = await findVersion(tx, { secretId: secret.id, version });
  if (version <= secret.current_version && !row?.deleted_at) return;
  throw new AppError('not_found', `no such version: ${version}`, { rule: 'no-such-version' });
}
