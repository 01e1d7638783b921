import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { aboutOne, namingItem } from '../../about-one.ts';
import { authorizeAll, authorizeEach } from '../../authorize.ts';
import type { Allowed } from '../../authorize.ts';
import type { VaultContext } from '../../context.ts';
import { changeInVaults } from '../../change-in-vaults.ts';
import { rehearse } from '../../rehearse.ts';
import { audited } from '../../record.ts';
import type { ChangeOutcome, EventFactsList } from '../../record.ts';
import { deletionOf, trash } from '../lifecycle/trash.ts';
import { listUnder } from '../listing/list-under.ts';
import { countDependants } from '../references.ts';
import { lockLiveSecret } from '../secret-state.ts';
import { lockLiveSecretsIn } from '../secret-store.ts';
import type { SecretRow } from '../secret-store.ts';

const ADVICE = `give a longer prefix, or up to ${BULK_MAX} names at a time`;

/** What to delete: secrets by their names, or the secret called `prefix` and all secrets under it. */
export type Selection = { names: string[] } | { prefix: string };

export interface Deleted {
  name: string;
  /** How many references point to it, from secrets that are not deleted. */
  dependants: number;
}

/**
 * Puts several secrets into the trash, in one transaction and in the order of their names. A dry run gives the same
 * answer and deletes nothing.
 * @throws AppError `access_denied`; `not_found` if there is no secret, or if one of the names does not exist;
 * `too_large` for more than BULK_MAX
 */
export async function deleteSecrets(
  ctx: VaultContext,
  caller: Caller,
  { vault: vaultName, selection, dryRun }: { vault: string; selection: Selection; dryRun: boolean },
): Promise<Audited<Deleted[]>> {
  const allowed = await authorizeSelection(ctx, caller, vaultName, selection);
  const { vault, rule } = allowed;
  const work = (tx: Transaction) => deleteSelected(ctx, tx, caller, { vault, rule, selection });
  const change = { rights: [allowed], whole: true };
  if (!dryRun) return changeInVaults(ctx, caller, change, work);
  const items = await rehearse(ctx, caller, change, work);
  const prefix = 'prefix' in selection ? { name: selection.prefix } : {};
  const resource = { vault: vault.name, vaultId: vault.id, ...prefix, count: items.length };
  return audited(ctx, caller, { action: 'secret.delete', resource, rule, reason: 'dry run' }, () => items);
}

// A right to a name is a right to all names under it. The answer shows those names, so it needs the right to list.
function authorizeSelection(ctx: VaultContext, caller: Caller, vault: string, selection: Selection): Promise<Allowed> {
  if ('prefix' in selection) {
    return authorizeAll(ctx, caller, ['secret.delete', 'secret.list'], { vault, name: selection.prefix });
  }
  const { names } = selection;
  return authorizeEach(ctx, caller, 'secret.delete', { vault, names }, (error, index) =>
    aboutOne(error, { path: `body.names.${index}`, name: names[index]! }),
  );
}

async function deleteSelected(
  ctx: VaultContext,
  tx: Transaction,
  caller: Caller,
  { vault, rule, selection }: { vault: Allowed['vault']; rule: AuditRule; selection: Selection },
): Promise<ChangeOutcome<Deleted[]>> {
  const secrets =
    'prefix' in selection
      ? await listUnder((part) => lockLiveSecretsIn(tx, { vaultId: vault.id, ...part }), {
          ...selection,
          advice: ADVICE,
        })
      : await getAll(tx, { vaultId: vault.id, names: selection.names });
  for (const secret of secrets) await trash(ctx, tx, caller, secret);

  // Counted when all are in the trash, so references from one deleted secret to another do not count.
  const deleted: Deleted[] = [];
  const facts: EventFacts[] = [];
  for (const secret of secrets) {
    const dependants = await countDependants(tx, { vault: vault.name, name: secret.name });
    deleted.push({ name: secret.name, dependants });
    facts.push(deletionOf({ vault, rule, secret, dependants }));
  }
  return { value: deleted, facts: facts as EventFactsList };
}

// In the order of their names, so that two requests for the same secrets do not wait for each other.
async function getAll(tx: Transaction, { vaultId, names }: { vaultId: string; names: string[] }): Promise<SecretRow[]> {
  const secrets: SecretRow[] = [];
  for (const name of names.toSorted()) {
    const which = { path: `body.names.${names.indexOf(name)}`, name };
    secrets.push(await namingItem(which, () => lockLiveSecret(tx, { vaultId, name })));
  }
  return secrets;
}
