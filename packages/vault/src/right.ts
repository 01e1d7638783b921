import type { AuditRule } from '@cardea/contracts/audit-rules';
import type { Caller } from '@cardea/contracts/caller';
import { AppError } from '@cardea/contracts/errors';
import type { GrantedIn, VaultRow } from './access-store.ts';
import type { VaultContext } from './context.ts';

/**
 * How long a decision holds without a second look, in milliseconds. Longer than a read takes that waits for nothing, so
 * such a read pays nothing. What is shown later than this is confirmed first (I8).
 */
export const HOLDS_MS = 100;

/** A permission, as it was decided at some moment. Only the functions of `authorize.ts` give one. */
export interface Right {
  rule: AuditRule;
  /** Undefined for a right that comes from the role alone. */
  vault?: VaultRow;
  /** When it was decided or confirmed the last time, by `steadyMs`. */
  decidedAt: number;
  /** Decides again, about the caller and the grant as they were found now. @throws as `authorize` */
  confirm(caller: Caller, found: GrantedIn | undefined): void;
}

/**
 * What an answer relies on: all of these rights, or only that the caller has signed in, or nothing any more: it tells what
 * was done for the caller already, and the record must not be missing.
 */
export type Ground = readonly [Right, ...Right[]] | 'signed-in' | 'done';

/**
 * Notes that a request waits for something other than the database. Call it before the wait. What was decided about its
 * caller until now is confirmed before anything is shown, however short the wait was.
 */
export function noteWait(caller: Caller): void {
  delete caller.identifiedAt;
}

/** Whether what an answer relies on was decided too long ago, or before a wait. */
export function isStale(ctx: Pick<VaultContext, 'steadyMs'>, caller: Caller, rights: readonly Right[]): boolean {
  // A caller about whom nobody knows when they were identified counts as old.
  const oldest = rights.reduce((least, { decidedAt }) => Math.min(least, decidedAt), caller.identifiedAt ?? -Infinity);
  return ctx.steadyMs() - oldest > HOLDS_MS;
}

/** A right by the role, as long as it stays the same. */
export function rightByRole(ctx: Pick<VaultContext, 'steadyMs'>, { role }: Caller, rule: AuditRule): Right {
  const confirm = (now: Caller) => {
    if (now.role !== role) throw new AppError('access_denied', 'your role has just changed', { rule: 'role-changed' });
  };
  return { rule, decidedAt: ctx.steadyMs(), confirm };
}
