import { fieldChanges } from './audit-actions.ts';
import type { AuditAction, FieldChange } from './audit-actions.ts';
import type { ComparedFields } from './audit-changes.ts';
import type { AuditEvent, AuditResource } from './audit-event.ts';
import type { AuditRule } from './audit-rules.ts';
import { formatMillis } from './audit-time.ts';
import type { Caller } from './caller.ts';
import type { SuspiciousRule } from './suspicious.ts';

/**
 * What happened. `toAuditEvent` adds who, when and from where. `decision` is `allow` if it is not given. An action that
 * changes fields has `changes`; without any, its reason is `unchanged`.
 */
export type EventFacts = OtherFacts &
  (
    | { action: FieldChange; decision?: 'allow'; changes: ComparedFields }
    | { action: Exclude<AuditAction, FieldChange>; decision?: 'allow'; changes?: ComparedFields | undefined }
    | { action: AuditAction; decision: 'deny'; changes?: ComparedFields | undefined }
  );

interface OtherFacts {
  ciphertextSha256?: string | undefined;
  dekVersion?: number | undefined;
  kekVersion?: number | undefined;
  reason?: string | undefined;
  resource?: AuditResource | undefined;
  rule?: AuditRule | undefined;
  suspicious?: SuspiciousRule | undefined;
}

/** Makes an audit event. `id` is a UUIDv7, `at` is in milliseconds since 1970. */
export function toAuditEvent(
  { actor, requestId, source }: Pick<Caller, 'actor'> & Partial<Caller>,
  facts: EventFacts,
  { id, at }: { id: string; at: number },
): AuditEvent {
  const { action, changes, ciphertextSha256, decision = 'allow', dekVersion, kekVersion } = facts;
  const { resource, rule, suspicious } = facts;
  const isUnchanged = changes !== undefined && Object.keys(changes).length === 0;
  const reason = facts.reason ?? (isUnchanged && isFieldChange(action) ? 'unchanged' : undefined);
  // In the order of the canonical form, because the canonical form is then faster to write.
  return {
    action,
    actor,
    ...(changes === undefined || isUnchanged ? {} : { changes }),
    ...(ciphertextSha256 === undefined ? {} : { ciphertextSha256 }),
    decision,
    ...(dekVersion === undefined ? {} : { dekVersion }),
    id,
    ...(kekVersion === undefined ? {} : { kekVersion }),
    ...(reason === undefined ? {} : { reason }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(resource === undefined ? {} : { resource }),
    ...(rule === undefined ? {} : { rule }),
    ...(source === undefined ? {} : { source }),
    ...(suspicious === undefined ? {} : { suspicious }),
    ts: formatMillis(at),
  };
}

function isFieldChange(action: AuditAction): boolean {
  return (fieldChanges as readonly AuditAction[]).includes(action);
}
