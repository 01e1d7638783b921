import type { Queryable, Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { noVersionYet, secretNotThere } from '../not-there.ts';
import { findSecret, lockSecret } from './secret-store.ts';
import type { SecretRow } from './secret-store.ts';
import { moveExpiryToVersions } from './version-store.ts';

/** A secret with a version that is not in the trash. @throws AppError `not_found` */
export async function getLiveSecret(
  db: Queryable,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<SecretRow> {
  return requireLive(await findSecret(db, { vaultId, name }));
}

/** Like `getLiveSecret`, locked until the end of the transaction: see `lockSecret`. @throws AppError `not_found` */
export async function lockLiveSecret(
  tx: Transaction,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<SecretRow> {
  return requireLive(await lockSecret(tx, { vaultId, name }));
}

function requireLive(row: SecretRow | undefined): SecretRow {
  if (row?.live === 1) return row;
  throw row?.current_version === 0 ? noVersionYet() : secretNotThere();
}

/** A new secret without a version, ready to insert. `at` is now, in milliseconds since 1970. */
export function newSecret({
  id,
  vaultId,
  name,
  at,
}: {
  id: string;
  vaultId: string;
  name: string;
  at: number;
}): SecretRow {
  return {
    id,
    vault_id: vaultId,
    name,
    current_version: 0,
    max_versions: null,
    metadata: '{}',
    expires_at: null,
    due_at: null,
    announce_at: null,
    live: 0,
    trashed_at: null,
    created_at: at,
    updated_at: at,
  };
}

/**
 * Moves the expiry of a secret to its versions if it has passed, and returns the secret after that. A change begins
 * with this. Otherwise, if it moves or clears the expiry before a sweep has destroyed the values, expired values would
 * be readable again.
 */
export async function settleExpiry(
  ctx: Pick<VaultContext, 'now'>,
  tx: Transaction,
  secret: SecretRow,
): Promise<SecretRow> {
  const { id, expires_at: expiresAt } = secret;
  if (expiresAt === null || expiresAt > ctx.now().getTime()) return secret;
  await moveExpiryToVersions(tx, { id, expiresAt });
  return { ...secret, expires_at: null };
}
