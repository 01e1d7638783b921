import { AppError } from '@cardea/contracts/errors';
import { IntegrityError } from '@cardea/crypto/envelope';
import { DbUnavailable, DiskFull, QueueFull } from '@cardea/storage/db';

/** What an error of a lower package means to a client; undefined for an error that no client should see. */
export function translate(error: unknown): AppError | undefined {
  if (error instanceof QueueFull && error.isOwn) {
    const message = 'too many of your own changes wait for the database: repeat the call';
    return new AppError('rate_limited', message, { cause: error, rule: 'under-way' });
  }
  if (error instanceof QueueFull) {
    return new AppError('unavailable', 'too many changes wait for the database: repeat the call', { cause: error });
  }
  if (error instanceof DiskFull) {
    const message = 'the disk of the database is full, so nothing can be changed until there is room';
    return new AppError('unavailable', message, { cause: error, rule: 'disk-full', retryAfterSeconds: 30 });
  }
  if (error instanceof DbUnavailable) {
    return new AppError('unavailable', 'the database does not answer', { cause: error });
  }
  if (error instanceof IntegrityError) {
    return new AppError('internal', 'internal error', {
      cause: error,
      rule: 'integrity',
      suspicious: 'integrity_failure',
    });
  }
  return undefined;
}
