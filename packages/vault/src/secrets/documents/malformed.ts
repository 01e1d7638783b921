import { AppError } from '@cardea/contracts/errors';

/** The error in a line of a document, counted from 1. `what` continues the sentence "line 3: …" and quotes nothing. */
export function malformed(line: number, what: string): AppError {
  const message = `line ${line}: ${what}`;
  return new AppError('invalid_request', `the document: ${message}`, { errors: [{ path: 'body.content', message }] });
}
