import type { AuditChanges } from '@cardea/contracts/audit-changes';
import type { Happening } from './record.ts';

/** What a record says about a change of fields: each changed field, or `unchanged` if there is none. */
export function touched(changes: AuditChanges | undefined): Pick<Happening, 'changes' | 'reason'> {
  return changes ? { changes } : { reason: 'unchanged' };
}
