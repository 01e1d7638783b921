import type { AuditRule } from '@cardea/contracts/audit-rules';
import { AppError } from '@cardea/contracts/errors';

/** One message for a vault that does not exist and for one that the caller may not see: two would tell them apart. */
export function vaultNotThere(rule: AuditRule = 'no-such-vault'): AppError {
  return new AppError('not_found', 'no such vault or name, or you may not see it', { rule });
}

/** The error for a secret that does not exist, or for a part of a secret that does not exist. */
export function secretNotThere(message = 'no such secret'): AppError {
  return new AppError('not_found', message, { rule: 'no-such-secret' });
}

/** The error for a secret that has only metadata. */
export function noVersionYet(): AppError {
  return new AppError('not_found', 'the secret has no version yet', { rule: 'no-such-version' });
}

/** The error for a key that does not exist. */
export function keyNotThere(): AppError {
  return new AppError('not_found', 'no such key', { rule: 'no-such-key' });
}
