import { changesBetween } from '@cardea/contracts/audit-changes';
import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { VaultContext } from '../context.ts';
import { changeDue } from '../sweep.ts';
import { endDelivery } from './delivery-store.ts';

/** A delivery after its last attempt. */
export interface FailedDelivery {
  id: string;
  endpoint: string;
  kind: string;
  attempts: number;
}

/** Ends a delivery as dead and records it, unless it has ended or another process attempts it. */
export async function giveUp(
  ctx: VaultContext,
  { id, endpoint, kind, attempts }: FailedDelivery,
  { rule, failure }: { rule: AuditRule; failure: string },
): Promise<void> {
  await changeDue(ctx, async (tx, at) => {
    if (!(await endDelivery(tx, { id, attempts, state: 'dead', failure, at }))) return [];
    const reason = `${kind} to ${endpoint}: ${failure}`;
    const changes = changesBetween({ state: 'waiting' }, { state: 'dead' });
    return [{ action: 'webhook.giveUp', decision: 'deny', rule, reason, changes, resource: { name: id } }];
  });
}
