import type { AuditAction } from './audit-actions.ts';
import type { Caller } from './caller.ts';
import type { AppError } from './errors.ts';
import type { EventFacts } from './to-audit-event.ts';

/** A refused request: whose it was, what it asked for, and why it was refused. */
export interface Refusal {
  caller: Caller;
  action: AuditAction;
  /** The parameters of the path that are well formed. */
  params: Record<string, string>;
  /** The body as the contract has parsed it; undefined if the request was refused before that. */
  body: unknown;
  error: AppError;
}

/** The facts of a refusal that its error gives. */
export function refusalFacts({ action, error }: Pick<Refusal, 'action' | 'error'>): EventFacts {
  const { code: reason, resource, rule, suspicious } = error;
  return { action, decision: 'deny', reason, resource, rule, suspicious };
}
