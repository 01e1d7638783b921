import type { AuditActor, AuditSource } from './audit-event.ts';

export const roles = ['admin', 'developer', 'ceo'] as const;

export type Role = (typeof roles)[number];

/** Who calls and from where, as every layer below HTTP sees it. */
export interface Caller {
  actor: AuditActor;
  /** The role of a user. Applications and anonymous callers have none. */
  role?: Role;
  /** Signed in with a one-time password: may only choose another. */
  mustChangePassword?: boolean;
  source: AuditSource;
  requestId: string;
  /**
   * When the account was looked up the last time, by the steady clock of this process. Without it, nobody knows, and the
   * caller is looked up again before anything is shown.
   */
  identifiedAt?: number;
}
