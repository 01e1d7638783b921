import type { AuditChanges } from '@cardea/contracts/audit-changes';
import type { EventFacts } from '@cardea/contracts/to-audit-event';

/** What a record says about a change of fields: each changed field, or `unchanged` if there is none. */
export function touched(changes: AuditChanges | undefined): Pick<EventFacts, 'changes' | 'reason'> {
  return changes ? { changes } : { reason: 'unchanged' };
}
