import type { Operation, Outcome } from './operations.ts';

/** A call that is under way. */
export interface Call {
  end<O extends Outcome>(outcome: O): O;
  /** It was never asked. */
  forget(): Outcome;
}

/**
 * Notes calls by a clock of its own that counts events: what one process sees has an order, however close together it
 * is.
 */
export class Recorder {
  readonly operations: Operation[] = [];
  #now = 0;

  begin(call: Pick<Operation, 'client' | 'name' | 'question'>): Call {
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

  /** How many calls came to each outcome. */
  counts(): Record<string, number> {
    const groups = Map.groupBy(this.operations, ({ question, outcome }) => `${question.kind}: ${outcome.is}`);
    return Object.fromEntries([...groups].map(([what, calls]) => [what, calls.length]));
  }
}
