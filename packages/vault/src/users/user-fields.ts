import { changesBetween, timeField } from '@cardea/contracts/audit-changes';
import type { AuditFields, ComparedFields } from '@cardea/contracts/audit-changes';
import type { UserRow } from './user-store.ts';

/** The fields of a user that an audit record shows. */
export function userFields(row: UserRow): AuditFields {
  return {
    role: row.role,
    disabled: row.disabled === 1,
    totp: row.totp_enabled === 1,
    mustChangePassword: row.password_state !== 'chosen',
    expiresAt: timeField(row.expires_at),
  };
}

/** The changes of a user who gets another password. No record shows a password, only that it has changed. */
export function passwordChanges(before: UserRow, after: UserRow): ComparedFields {
  return changesBetween(userFields(before), userFields(after), ['password']);
}
