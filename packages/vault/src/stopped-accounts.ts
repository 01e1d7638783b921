import type { AuditRule } from '@cardea/contracts/audit-rules';
import { isInside } from '@cardea/contracts/cidr';

/** What decides whether a user or an application may act at all. */
export interface AccountState {
  disabled: number;
  expires_at: number | null;
}

/** The rule by which a user may do nothing now, whatever their role and grants are. */
export function whyUserStopped({ disabled, expires_at: expiresAt }: AccountState, now: number): AuditRule | undefined {
  if (disabled === 1) return 'user-disabled';
  return expiresAt !== null && expiresAt <= now ? 'user-expired' : undefined;
}

/** The rule by which an application may do nothing now, whatever it was granted. */
export function whyApplicationStopped(
  { disabled, expires_at: expiresAt }: AccountState,
  now: number,
): AuditRule | undefined {
  if (disabled === 1) return 'application-disabled';
  return expiresAt !== null && expiresAt <= now ? 'application-expired' : undefined;
}

/** The rule by which an application may not be used from an address. */
export function whyElsewhere({ allowed_cidrs: cidrs }: { allowed_cidrs: string }, ip: string): AuditRule | undefined {
  return isInside(ip, JSON.parse(cidrs) as string[]) ? undefined : 'application-network';
}
