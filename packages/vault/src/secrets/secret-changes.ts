import { changesBetween, noChanges, timeField } from '@cardea/contracts/audit-changes';
import type { AuditFields, ComparedFields } from '@cardea/contracts/audit-changes';
import type { Metadata } from '@cardea/contracts/secrets/secret-shapes';
import type { SecretRow } from './secret-store.ts';

type Described = Pick<SecretRow, 'metadata' | 'max_versions' | 'due_at'>;

/** The changes of metadata, expiry and limit of versions. */
export function secretChanges(before: Described, after: Described): ComparedFields {
  // Nearly every write returns here.
  const isSame = before.metadata === after.metadata && before.max_versions === after.max_versions;
  if (isSame && before.due_at === after.due_at) return noChanges;
  return changesBetween(secretFields(before), secretFields(after));
}

/** The fields of a change that an audit record shows. */
export function secretFields({ metadata, max_versions: maxVersions, due_at: dueAt }: Described): AuditFields {
  const entries = Object.entries(JSON.parse(metadata) as Metadata);
  return {
    expiresAt: timeField(dueAt),
    maxVersions: maxVersions ?? undefined,
    // The names of fields in a record are ASCII, but the keys of metadata may have any characters.
    ...Object.fromEntries(entries.map(([key, value]) => [`metadata.${encodeURIComponent(key)}`, value])),
  };
}
