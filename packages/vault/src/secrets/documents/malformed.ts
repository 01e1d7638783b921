import { AppError } from '@cardea/contracts/errors';

/** What is wrong in a line of a document, counted from 1, as a sentence that goes on from it and quotes nothing. */
export function malformed(line: number, what: string): AppError {
  const message = `line ${line}: ${what}`;
  return new AppError('invalid_request', `the document: ${message}`, { errors: [{ path: 'body.content', message }] });
}
