import type { AuditChanges } from '@cardea/contracts/audit-changes';
import type { Happening } from './record.ts';

/** What a record says of a change of fields: each one that it touched, or that it touched none. */
export function touched(changes: AuditChanges | undefined): Pick<Happening, 'changes' | 'reason'> {
  return changes ? { changes } : { reason: 'unchanged' };
}
