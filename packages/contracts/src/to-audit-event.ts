import type { AuditAction } from './audit-actions.ts';
import type { AuditChanges } from './audit-changes.ts';
import type { AuditEvent, AuditResource } from './audit-event.ts';
import type { AuditRule } from './audit-rules.ts';
import { formatMillis } from './audit-time.ts';
import type { Caller } from './caller.ts';
import type { SuspiciousRule } from './suspicious.ts';

/** What happened. `toAuditEvent` adds who, when and from where. */
export interface EventFacts {
  action: AuditAction;
  /** The changed fields, if it is a change. */
  changes?: AuditChanges | undefined;
  ciphertextSha256?: string | undefined;
  /** `allow` if it is not given. */
  decision?: 'allow' | 'deny';
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
  const { reason, resource, rule, suspicious } = facts;
  // In the order of the canonical form, because the canonical form is then faster to write.
  return {
    action,
    actor,
    ...(changes === undefined ? {} : { changes }),
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
