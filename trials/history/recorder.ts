import type { Operation, Outcome } from './operations.ts';

/** A call that is under way. */
export interface Call {
  readonly invokedAt: number;
  /** `seq`: the position of its record in the audit log, if the answer tells it. */
  end<O extends Outcome>(outcome: O, seq?: number): O;
  /** Forgets the call, because it was never sent. */
  forget(): Outcome;
}

/**
 * Records calls with a clock that counts events, so that two events in this process always have an order, even within
 * one millisecond.
 */
export class Recorder {
  readonly operations: Operation[] = [];
  #now = 0;

  begin(call: Pick<Operation, 'client' | 'name' | 'request'>): Call {
    const invokedAt = ++this.#now;
    return {
      invokedAt,
      end: (outcome, seq) => {
        const answeredAt = outcome.is === 'lost' ? Infinity : ++this.#now;
        this.operations.push({ ...call, outcome, invokedAt, answeredAt, ...(seq === undefined ? {} : { seq }) });
        return outcome;
      },
      forget: () => ({ is: 'lost' }),
    };
  }

  /** The number of calls with each outcome. */
  counts(): Record<string, number> {
    const groups = Map.groupBy(this.operations, ({ request, outcome }) => `${request.kind}: ${outcome.is}`);
    return Object.fromEntries([...groups].map(([what, calls]) => [what, calls.length]));
  }
}
