import { AppError } from '@cardea/contracts/errors';

/** The refusal of something that keys of an algorithm cannot do. */
export function cannot(algorithm: string, what: string): AppError {
  return new AppError('conflict', `a key of ${algorithm} ${what}`, { rule: 'key-algorithm' });
}
