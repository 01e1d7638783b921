import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { SecretRow } from './secret-store.ts';

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

type SummarizedRow = Pick<
  SecretRow,
  'name' | 'current_version' | 'max_versions' | 'metadata' | 'created_at' | 'updated_at' | 'due_at'
>;

export function toSummary(row: SummarizedRow): SecretSummary {
  return {
    name: row.name,
    version: row.current_version,
    metadata: JSON.parse(row.metadata) as Metadata,
    ...(row.max_versions === null ? {} : { maxVersions: row.max_versions }),
    createdAt: new Date(row.created_at),
    updatedAt: new Date(row.updated_at),
    ...(row.due_at === null ? {} : { expiresAt: new Date(row.due_at) }),
  };
}
