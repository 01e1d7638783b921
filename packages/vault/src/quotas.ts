import { SECOND_MS } from '@cardea/contracts/durations';
import { AppError } from '@cardea/contracts/errors';
import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from './context.ts';
import { sizeLock } from './locks.ts';

type Quotas = Pick<VaultContext, 'settings' | 'room' | 'steadyMs'>;

/**
 * Called by `createVault` after the grant, which has locked the maker, so that no other change adds a vault to them
 * meanwhile. Counts the vaults that a user has made, whoever owns them now: nobody gets room by giving vaults away, and
 * nobody uses up the room of another by giving them vaults that they did not ask for.
 * @throws AppError `conflict` if the user has made more vaults than one may
 */
export async function refuseTooManyVaults({ settings }: Quotas, tx: Transaction, userId: string): Promise<void> {
  const max = settings.vaultsMadePerUser;
  if ((await countVaultsMade(tx, userId)) <= max) return;
  throw full(`a user may have made ${max} vaults at most, whoever owns them now: delete one first`);
}

/** How many vaults that still exist a user has made. */
export async function countVaultsMade(db: Queryable, userId: string): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    `select count(*) as count
       from vault
      where created_by = $1`,
    [userId],
  );
  return row!.count;
}

// The part of the room in a vault that a process uses up before it counts again, and for how long. Counting a million
// rows for each new secret would cost more than the write. Several processes that add secrets at once can so exceed the
// quota by a few percent, if it is more than PART.
const PART = 16;
const KNOWN_MS = 10 * SECOND_MS;
const VAULTS_MAX = 10_000;

/**
 * Called by every change that adds a secret to a vault, before it does: a new name, or a move from another vault. A
 * secret in the trash counts until it is purged, so to restore it adds none.
 * @throws AppError `conflict` if the vault holds as many secrets as it may
 */
export async function refuseFullVault(ctx: Quotas, tx: Transaction, vaultId: string): Promise<void> {
  const known = ctx.room.get(vaultId);
  if (known && known.left > 0 && known.until > ctx.steadyMs()) {
    known.left -= 1;
    return;
  }
  // From here on nobody else adds one without counting this one.
  await tx.lock(sizeLock(vaultId));
  const left = await roomFor(ctx, tx, { vaultId, added: 1 });
  if (ctx.room.size >= VAULTS_MAX) ctx.room.clear();
  ctx.room.set(vaultId, { left: Math.floor(left / PART), until: ctx.steadyMs() + KNOWN_MS });
}

/**
 * Counts the secrets of a vault that would get more. A dry run calls it for all that the call would add.
 * @returns how many more it may hold now
 * @throws AppError `conflict` if it may not hold so many
 */
export async function roomFor(
  { settings }: Quotas,
  db: Queryable,
  { vaultId, added }: { vaultId: string; added: number },
): Promise<number> {
  const max = settings.secretsPerVault;
  const [row] = await db.query<{ count: number }>(
    `select count(*) as count
       from (select 1
               from secret
              where vault_id = $1
              limit $2) as held`,
    [vaultId, max],
  );
  const left = max - row!.count;
  if (added <= left) return left;
  throw full(`a vault may hold ${max} secrets at most, with those in the trash: delete and purge some first`);
}

/**
 * Called by every change that adds a key to a vault, before it does. A deleted key counts until it is destroyed.
 * @throws AppError `conflict` if the vault holds as many keys as it may
 */
export async function refuseTooManyKeys(
  { settings }: Pick<Quotas, 'settings'>,
  tx: Transaction,
  vaultId: string,
): Promise<void> {
  const max = settings.keysPerVault;
  await tx.lock(sizeLock(vaultId));
  const [row] = await tx.query<{ count: number }>(
    `select count(*) as count
       from (select 1
               from vault_key
              where vault_id = $1
              limit $2) as held`,
    [vaultId, max],
  );
  if (row!.count < max) return;
  throw full(`a vault may hold ${max} keys at most, with those that wait for their destruction: delete some first`);
}

function full(message: string): AppError {
  return new AppError('conflict', message, { rule: 'quota' });
}
