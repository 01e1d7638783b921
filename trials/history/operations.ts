/** A request of a client for one secret. */
export type Request =
  | { kind: 'put'; value: string; ifMatch?: number; ifAbsent?: true }
  | { kind: 'get'; version?: number; unlessVersion?: number }
  | { kind: 'delete'; ifMatch?: number }
  | { kind: 'restore' };

/**
 * The answer to a request. `lost` means no answer, or an answer that does not say whether the request was done. The
 * optional details are those that either only an answer or only the audit log tells.
 */
export type Outcome =
  | { is: 'written'; version: number; changed: boolean; isNew?: boolean }
  | { is: 'read'; version: number; value: string }
  | { is: 'known already'; version: number }
  | { is: 'deleted'; version?: number }
  | { is: 'restored'; version?: number }
  | { is: 'missing' }
  | { is: 'precondition failed' }
  | { is: 'lost' };

/**
 * One call from its invocation to its answer. Both times are numbers of one clock, and no two events have the same
 * number. A lost call is answered at `Infinity`, because it may be done at any time after its invocation, or never.
 */
export interface Operation {
  client: number;
  name: string;
  request: Request;
  outcome: Outcome;
  invokedAt: number;
  answeredAt: number;
  /** The position of its record in the audit log, if the answer told it. */
  seq?: number;
}

/** Describes a call on one line, for people. */
export function describeCall({ client, request, outcome, invokedAt, answeredAt }: Operation): string {
  const { kind, ...parameters } = request;
  const { is, ...details } = outcome;
  const when = `${invokedAt}–${answeredAt === Infinity ? '' : answeredAt}`;
  return `${when} client ${client}: ${kind} ${JSON.stringify(parameters)} → ${is} ${JSON.stringify(details)}`;
}
