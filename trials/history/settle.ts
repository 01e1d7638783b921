import type { Operation, Outcome, Request } from './operations.ts';

/** What the audit log says about one change. */
export interface ChangeRecord {
  /** The position in the log. */
  seq: number;
  version: number;
  /** True if a write had the value that was already there. */
  isUnchanged: boolean;
}

/**
 * Decides every lost call by the audit log, by the time of its invocation: a change that was done has its record, and
 * one without a record was not done. So no order has to be tried for what may or may not have happened. A lost call was
 * done before its record was written, and a record was written before an answer that tells the same or a later
 * position, so the first such answer ends the time in which the call was done.
 *
 * No change may be missing in the log: call it after the outbox is empty.
 */
export function settle(operations: Operation[], records: ReadonlyMap<number, ChangeRecord>): Operation[] {
  const answeredAfter = earliestAnswers(operations);
  return operations.flatMap((call) => {
    if (call.outcome.is !== 'lost') return [call];
    const record = records.get(call.invokedAt);
    if (!record) return [];
    return [{ ...call, outcome: outcomeIn(record, call.request), answeredAt: answeredAfter(record.seq) }];
  });
}

/** Returns a function that finds the time of the first answer with a position in the log that is not below `seq`. */
function earliestAnswers(operations: Operation[]): (seq: number) => number {
  const answers = operations.filter(({ seq }) => seq !== undefined).toSorted((a, b) => b.seq! - a.seq!);
  let earliest = Infinity;
  const bounds = answers.map(({ seq, answeredAt }) => {
    earliest = Math.min(earliest, answeredAt);
    return { seq: seq!, earliest };
  });
  return (wanted) => bounds.findLast(({ seq }) => seq >= wanted)?.earliest ?? Infinity;
}

function outcomeIn({ version, isUnchanged }: ChangeRecord, { kind }: Request): Outcome {
  if (kind === 'put') return { is: 'written', version, changed: !isUnchanged };
  if (kind === 'delete') return { is: 'deleted', version };
  // Its record has the newest restored version, which need not be the newest version that an answer has.
  return { is: 'restored' };
}
