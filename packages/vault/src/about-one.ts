import type { AuditResource } from '@cardea/contracts/audit-event';
import { AppError } from '@cardea/contracts/errors';
import type { FieldError } from '@cardea/contracts/errors';
import { translate } from './translate.ts';

/** One of several secrets that a request is about: where it stands in the request, and its name. */
export interface RequestItem {
  /** As a JSON path: `body.names.3`. */
  path: string;
  name: string;
}

/** Runs what is about one of several. @throws what `work` throws, as `aboutOne` has it */
export async function namingItem<T>(one: RequestItem, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw aboutOne(error, one);
  }
}

/** The same error, saying in the answer and in the audit record which one it is about. */
export function aboutOne(thrown: unknown, { path, name }: RequestItem): unknown {
  const error = thrown instanceof AppError ? thrown : translate(thrown);
  // That something does not answer is not about any of them; what is not for a client stays what it is.
  if (!error || error.code === 'unavailable' || error.code === 'sealed') return thrown;
  const { message, resource = { name } } = error;
  return reworded(error, `${name}: ${message}`, { resource, errors: [{ path, message }] });
}

/** The same error in other words; the audit record has the rule of the first one. */
export function reworded(
  error: AppError,
  message: string,
  about: { resource?: AuditResource; errors?: FieldError[] },
): AppError {
  const { code, rule, suspicious, retryAfterSeconds } = error;
  return new AppError(code, message, {
    cause: error,
    ...about,
    ...(rule === undefined ? {} : { rule }),
    ...(suspicious === undefined ? {} : { suspicious }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}
