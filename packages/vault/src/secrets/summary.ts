import type { Metadata } from '@cardea/contracts/secrets';
import { AppError } from '@cardea/contracts/errors';
import type { Transaction } from '@cardea/storage/db';
import { findSecret } from './secret-store.ts';
import type { SecretRow, SecretState } from './secret-store.ts';

/** A secret without its value; `version` is the newest one. */
export interface SecretSummary {
  name: string;
  version: number;
  metadata: Metadata;
  maxVersions?: number;
  createdAt: Date;
  updatedAt: Date;
  expiresAt?: Date;
}

export function toSummary(row: Pick<SecretRow, 'name' | 'created_at'>, state: SecretState): SecretSummary {
  return {
    name: row.name,
    version: state.currentVersion,
    metadata: JSON.parse(state.metadata) as Metadata,
    ...(state.maxVersions === null ? {} : { maxVersions: state.maxVersions }),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(state.updatedAt),
    ...(state.dueAt === null ? {} : { expiresAt: new Date(state.dueAt) }),
  };
}

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
  throw new AppError('not_found', 'no such secret', { rule: 'no-such-secret' });
}
