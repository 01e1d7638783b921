import type { EventFacts } from '@cardea/contracts/to-audit-event';
import type { Transaction } from '@cardea/storage/db';
import type { VaultContext } from '../context.ts';
import { changeDue } from '../sweep.ts';
import type { DueChange } from '../sweep.ts';
import { rotationCaller } from './rotation-run.ts';
import { insertUnopened, meetUnopened } from './unopened-store.ts';
import type { UnopenedRow } from './unopened-store.ts';

/** A row that does not open, and what the audit log records of it. */
export interface Unopened {
  row: Omit<UnopenedRow, 'rotation_id' | 'found_at'>;
  facts: Pick<EventFacts, 'action' | 'reason' | 'resource' | 'dekVersion' | 'kekVersion'>;
}

/** Notes rows that do not open. Each is recorded once as an integrity failure, however many rotations meet it. */
export async function noteUnopened(ctx: VaultContext, rotationId: string, found: Unopened[]): Promise<void> {
  const unknown = await ctx.db.transaction((tx) => meetEach(tx, rotationId, found));
  if (unknown.length === 0) return;
  const work: DueChange = async (tx, foundAt) => {
    const recorded: EventFacts[] = [];
    for (const { row, facts } of unknown) {
      const isNew = await insertUnopened(tx, { ...row, rotation_id: rotationId, found_at: foundAt });
      if (isNew) recorded.push({ ...facts, ...DAMAGE });
    }
    return recorded;
  };
  await changeDue(ctx, work, rotationCaller(rotationId));
}

const DAMAGE = { decision: 'deny', rule: 'integrity', suspicious: 'integrity_failure' } as const;

async function meetEach(tx: Transaction, rotationId: string, found: Unopened[]): Promise<Unopened[]> {
  const unknown: Unopened[] = [];
  for (const one of found) if (!(await meetUnopened(tx, one.row, rotationId))) unknown.push(one);
  return unknown;
}
