import type { Operation, Outcome } from './operations.ts';

/** A call that is under way. */
export interface Call {
  end<O extends Outcome>(outcome: O): O;
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
      end: (outcome) => {
        const answeredAt = outcome.is === 'lost' ? Infinity : ++this.#now;
        this.operations.push({ ...call, outcome, invokedAt, answeredAt });
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
