import type { AuditAction } from './audit-actions.ts';
import type { Caller } from './caller.ts';
import type { AppError } from './errors.ts';
import type { EventFacts } from './to-audit-event.ts';

/** What was refused, to whom and why. */
export interface Refusal {
  caller: Caller;
  action: AuditAction;
  /** The parameters of the path, where they are well formed. */
  params: Record<string, string>;
  /** The body as the contract has parsed it; undefined if it was refused before. */
  body: unknown;
  error: AppError;
}

/** What is recorded of a refusal, as far as its error says it. */
export function refusalFacts({ action, error }: Pick<Refusal, 'action' | 'error'>): EventFacts {
  const { code: reason, resource, rule, suspicious } = error;
  return { action, decision: 'deny', reason, resource, rule, suspicious };
}
