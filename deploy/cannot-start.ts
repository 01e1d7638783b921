import { isKnownCause, withCause } from '@cardea/process/cause';

/**
 * The exit code (EX_CONFIG of sysexits.h) of a process that cannot start and has printed one sentence that says why.
 */
export const exitCannotStart = 78;

/** The machine or its settings prevent the start of Cardea. The message is one sentence that says what to do. */
export class CannotStart extends Error {
  override name = 'CannotStart';
}

/**
 * The sentence that a process prints before it ends: that of a CannotStart, or why something did not work.
 * @throws `error` if its cause is none that operators know: then its stack is of use
 */
export function whyNot(error: unknown, what: string): string {
  if (error instanceof CannotStart) return error.message;
  if (!isKnownCause(error)) throw error;
  return withCause(what, error);
}

/** What a CannotStart of `work` says, or nothing. */
export function problemOf(work: () => unknown): string[] {
  try {
    work();
    return [];
  } catch (error) {
    if (!(error instanceof CannotStart)) throw error;
    return [error.message];
  }
}

/** The code of a system error, such as `ENOENT`, or undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
