import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import type { Granted } from '../decide.ts';
import { listVaultsOwnedAlone, upsertGrant } from '../grants/grant-store.ts';
import { canSignInForGood, findUser } from './user-store.ts';
import type { UserRow } from './user-store.ts';

const ownership: Granted = { owner: true, secrets: [], keys: [], allowedCidrs: [] };

/** A vault that was handed to another owner. */
export interface HandedOver {
  id: string;
  name: string;
}

/**
 * Hands the vaults that a user owns alone to `successor`, a username. A vault with another owner needs no successor.
 * @throws AppError `conflict` that says what to do
 */
export async function handOver(
  ctx: Pick<VaultContext, 'now'>,
  tx: Transaction,
  { from, successor, by }: { from: UserRow; successor: string | undefined; by: string },
): Promise<HandedOver[]> {
  const vaults = await listVaultsOwnedAlone(tx, `user:${from.id}`);
  if (vaults.length === 0) return [];
  if (successor === undefined)
    throw ownsAlone(vaults, 'name a successor (?successor=…), or make another user an owner first');
  const createdAt = ctx.now().getTime();
  const principal = `user:${await heirOf(tx, { from, successor })}`;
  for (const { id: vaultId } of vaults) {
    await upsertGrant(tx, { vaultId, principal, granted: ownership, createdAt, createdBy: by });
  }
  return vaults;
}

async function heirOf(tx: Transaction, { from, successor }: { from: UserRow; successor: string }): Promise<string> {
  const heir = await findUser(tx, successor);
  if (heir && heir.id !== from.id && heir.role !== 'ceo' && canSignInForGood(heir)) return heir.id;
  throw new AppError('conflict', 'the successor must be another user who can sign in, has no expiry and is not a ceo', {
    rule: 'not-an-owner',
  });
}

/** A ceo changes nothing, so a vault whose only owner becomes a ceo would have no owner. @throws AppError `conflict` */
export async function refuseOwnerlessVaults(tx: Transaction, row: UserRow): Promise<void> {
  const vaults = await listVaultsOwnedAlone(tx, `user:${row.id}`);
  if (vaults.length > 0) throw ownsAlone(vaults, 'make another user an owner first');
}

function ownsAlone(vaults: HandedOver[], whatToDo: string): AppError {
  const names = vaults.slice(0, 5).map((vault) => vault.name);
  return new AppError('conflict', `the user is the only owner of ${names.join(', ')}: ${whatToDo}`, {
    rule: 'owns-alone',
  });
}
