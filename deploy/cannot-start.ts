/**
 * The exit code (EX_CONFIG of sysexits.h) of a process that cannot start and has printed one sentence that says why.
 */
export const exitCannotStart = 78;

/** The machine or its settings prevent the start of Cardea. The message is one sentence that says what to do. */
export class CannotStart extends Error {
  override name = 'CannotStart';
}

/** The code of a system error, such as `ENOENT`, or undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
