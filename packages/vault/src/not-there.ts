import type { AuditRule } from '@cardea/contracts/audit-rules';
import { AppError } from '@cardea/contracts/errors';

/** One sentence for what does not exist and for what the caller may not see: two sentences would tell them apart. */
export function vaultNotThere(rule: AuditRule = 'no-such-vault'): AppError {
  return new AppError('not_found', 'no such vault, or nothing in it for you', { rule });
}

/** The error of a secret that does not exist, or of which the caller asked for a part that does not. */
export function secretNotThere(message = 'no such secret'): AppError {
  return new AppError('not_found', message, { rule: 'no-such-secret' });
}

/** The error of a secret that is known by its metadata only. */
export function noVersionYet(): AppError {
  return new AppError('not_found', 'the secret has no version yet', { rule: 'no-such-version' });
}
