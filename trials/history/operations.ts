/** What a client asks of one secret. */
export type Question =
  | { kind: 'put'; value: string; ifMatch?: number; ifAbsent?: true }
  | { kind: 'get'; version?: number; unlessVersion?: number }
  | { kind: 'delete'; ifMatch?: number }
  | { kind: 'restore' };

/** What it was told. `lost`: it got no answer, or none that says whether it was done. */
export type Outcome =
  | { is: 'written'; version: number; changed: boolean; isNew: boolean }
  | { is: 'read'; version: number; value: string }
  | { is: 'known already'; version: number }
  | { is: 'deleted' }
  | { is: 'restored'; version: number }
  | { is: 'missing' }
  | { is: 'precondition failed' }
  | { is: 'lost' };

/**
 * One call from its invocation to its answer. Both times are numbers of one clock that no two events share; what was
 * lost is answered at `Infinity`, since it may be done at any time after its invocation, or never.
 */
export interface Operation {
  client: number;
  name: string;
  question: Question;
  outcome: Outcome;
  invokedAt: number;
  answeredAt: number;
}

/** One line, for people. */
export function describeCall({ client, question, outcome, invokedAt, answeredAt }: Operation): string {
  const { kind, ...asked } = question;
  const { is, ...told } = outcome;
  const when = `${invokedAt}–${answeredAt === Infinity ? '' : answeredAt}`;
  return `${when} client ${client}: ${kind} ${JSON.stringify(asked)} → ${is} ${JSON.stringify(told)}`;
}
