import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { secretNotThere } from '../not-there.ts';
import { findSecret, handDownEnd } from './secret-store.ts';
import type { SecretRow, SecretState } from './secret-store.ts';

/** What a secret is now, to be changed and written again. */
export function stateOf(row: SecretRow): SecretState {
  return {
    id: row.id,
    currentVersion: row.current_version,
    maxVersions: row.max_versions,
    metadata: row.metadata,
    expiresAt: row.expires_at,
    dueAt: row.due_at,
    announceAt: row.announce_at,
    trashedThrough: row.trashed_through,
    trashedAt: row.trashed_at,
    trashedBy: row.trashed_by,
    updatedAt: row.updated_at,
  };
}

/** A secret that is not in the trash. @throws AppError `not_found` */
export async function getLiveSecret(
  tx: Transaction,
  { vaultId, name }: { vaultId: string; name: string },
): Promise<SecretRow> {
  const row = await findSecret(tx, { vaultId, name });
  if (row?.live === 1) return row;
  throw secretNotThere();
}

/** What a secret is before its first version. */
export function unborn(id: string): SecretState {
  return {
    id,
    currentVersion: 0,
    maxVersions: null,
    metadata: '{}',
    expiresAt: null,
    dueAt: null,
    announceAt: null,
    trashedThrough: 0,
    trashedAt: null,
    trashedBy: null,
    updatedAt: 0,
  };
}

/**
 * What a secret is once its end, if that has come, is its versions' own. A change begins with it: what has ended would be
 * there again if the change moved the end, or took it away, before a sweep has destroyed the values.
 */
export async function settleEnd(
  ctx: Pick<VaultContext, 'now'>,
  tx: Transaction,
  state: SecretState,
): Promise<SecretState> {
  const { id, expiresAt } = state;
  if (expiresAt === null || expiresAt > ctx.now().getTime()) return state;
  await handDownEnd(tx, { id, expiresAt });
  return { ...state, expiresAt: null };
}
