import type { AuditActor, AuditSource } from './audit-event.ts';

export const roles = ['admin', 'developer', 'ceo'] as const;

export type Role = (typeof roles)[number];

/** Who is asking and from where, as every layer below HTTP sees them. */
export interface Caller {
  actor: AuditActor;
  /** A user's role. Applications and strangers have none. */
  role?: Role;
  /** Signed in by a one-time password: may do nothing but choose another. */
  mustChangePassword?: boolean;
  source: AuditSource;
  requestId: string;
}
