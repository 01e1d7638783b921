import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
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
