import type { AuditResource } from '@cardea/contracts/audit-event';
import { AppError } from '@cardea/contracts/errors';
import type { FieldError } from '@cardea/contracts/errors';
import { translate } from './translate.ts';

/** One of several secrets in a request: its position in the request, and its name. */
export interface RequestItem {
  /** As a JSON path: `body.names.3`. */
  path: string;
  name: string;
}

/** Runs `work` for one item of a request. @throws what `work` throws, with the item named by `aboutOne` */
export async function namingItem<T>(one: RequestItem, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw aboutOne(error, one);
  }
}

/** The same error, naming the item in the answer and in the audit record. */
export function aboutOne(thrown: unknown, { path, name }: RequestItem): unknown {
  const error = thrown instanceof AppError ? thrown : translate(thrown);
  // A service that does not answer has nothing to do with one item. An error that clients must not see stays as it is.
  if (!error || error.code === 'unavailable' || error.code === 'sealed') return thrown;
  const { message, resource = { name } } = error;
  return reworded(error, `${name}: ${message}`, { resource, errors: [{ path, message }] });
}

/** The same error with another message. The audit record keeps the rule of the original error. */
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
