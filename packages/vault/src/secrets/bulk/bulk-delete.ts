import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Audited } from '@cardea/contracts/audited';
import type { Caller } from '@cardea/contracts/caller';
import { callerKey } from '@cardea/contracts/caller-key';
import { BULK_MAX } from '@cardea/contracts/secrets/bulk';
import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import { pauseIfLong } from '@cardea/storage/long-work';
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
import { countDependants } from '../../dependants.ts';
import { inBulkTurn } from './bulk-turns.ts';
import { getLiveSecret, lockLiveSecret } from '../secret-state.ts';
import { listLiveSecretsIn, lockLiveSecretsIn } from '../secret-store.ts';
import type { SecretRow } from '../secret-store.ts';

const ADVICE = `give a longer prefix, or up to ${BULK_MAX} names at a time`;

/** What to delete: secrets by their names, or the secret called `prefix` and all secrets under it. */
export type Selection = { names: string[] } | { prefix: string };

export interface Deleted {
  name: string;
  /** How many references that the caller may list point to it, from secrets that are not deleted. */
  dependants: number;
}

/**
 * Puts several secrets into the trash, in one transaction and in the order of their names. A dry run gives the same
 * answer and deletes nothing.
 * @throws AppError `access_denied`; `not_found` if there is no secret, or if one of the names does not exist;
 * `too_large` for more than BULK_MAX; `rate_limited`
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
  if (!dryRun) return inBulkTurn(ctx, caller, [allowed], () => changeInVaults(ctx, caller, change, work));
  const items = await inBulkTurn(
    ctx,
    caller,
    [allowed],
    async () => (await planDeletion(ctx, caller, { vault, selection })) ?? rehearse(ctx, caller, change, work),
  );
  const prefix = 'prefix' in selection ? { name: selection.prefix } : {};
  const resource = { vault: vault.name, vaultId: vault.id, ...prefix, count: items.length };
  return audited(ctx, caller, [allowed], { action: 'secret.delete', resource, rule, reason: 'dry run' }, () => items);
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
  const secrets = await select(selection, {
    by: callerKey(caller),
    listIn: (part) => lockLiveSecretsIn(tx, { vaultId: vault.id, ...part }),
    get: (name) => lockLiveSecret(tx, { vaultId: vault.id, name }),
  });
  for (const secret of secrets) await trash(ctx, tx, caller, secret);

  // Counted when all are in the trash, so references from one deleted secret to another do not count.
  const deleted: Deleted[] = [];
  const facts: EventFacts[] = [];
  for (const secret of secrets) {
    const dependants = await countDependants(ctx, tx, caller, secret);
    deleted.push({ name: secret.name, dependants: dependants.seen });
    facts.push(deletionOf({ vault, rule, secret, dependants }));
  }
  return { value: deleted, facts: facts as EventFactsList };
}

/** What a deletion would answer. Undefined if references are involved: one from a deleted secret does not count. */
async function planDeletion(
  ctx: VaultContext,
  caller: Caller,
  { vault, selection }: { vault: Allowed['vault']; selection: Selection },
): Promise<Deleted[] | undefined> {
  const { db } = ctx;
  const secrets = await select(selection, {
    by: callerKey(caller),
    listIn: (part) => listLiveSecretsIn(db, { vaultId: vault.id, ...part }),
    get: (name) => getLiveSecret(db, { vaultId: vault.id, name }),
  });
  for (const secret of secrets) {
    await pauseIfLong(callerKey(caller));
    if ((await countDependants(ctx, db, caller, secret)).all > 0) return undefined;
  }
  return secrets.map(({ name }) => ({ name, dependants: 0 }));
}

/** How secrets are found: as they are, or locked. */
interface Finding {
  listIn: Parameters<typeof listUnder>[0];
  get(name: string): Promise<SecretRow>;
  /** Whose work it is: see `pauseIfLong`. */
  by: string;
}

async function select(selection: Selection, finding: Finding): Promise<SecretRow[]> {
  return 'prefix' in selection
    ? await listUnder(finding.listIn, { ...selection, advice: ADVICE })
    : await getAll(selection.names, finding);
}

// In the order of their names, so that two requests for the same secrets do not wait for each other.
async function getAll(names: string[], { get, by }: Finding): Promise<SecretRow[]> {
  const secrets: SecretRow[] = [];
  for (const name of names.toSorted()) {
    const which = { path: `body.names.${names.indexOf(name)}`, name };
    await pauseIfLong(by);
    secrets.push(await namingItem(which, () => get(name)));
  }
  return secrets;
}
