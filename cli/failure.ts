import { CardeaError } from '@cardea/client';
import { CommanderError } from 'commander';
import { printable } from './output.ts';

/** The exit codes of the command, as `cardea --help` lists them. */
export const EXIT = {
  failure: 1,
  usage: 2,
  notSignedIn: 3,
  notAllowed: 4,
  notFound: 5,
  conflict: 6,
  unavailable: 7,
} as const;

/** What stops a command before or after its calls, in one sentence with the next step. */
export class Failure extends Error {
  override name = 'Failure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failure, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** A command that was not given what it needs. */
export function usage(message: string): Failure {
  return new Failure(message, EXIT.usage);
}

const exitCodes: Record<CardeaError['code'], number> = {
  invalid_request: EXIT.usage,
  unauthenticated: EXIT.notSignedIn,
  access_denied: EXIT.notAllowed,
  not_found: EXIT.notFound,
  method_not_allowed: EXIT.failure,
  conflict: EXIT.conflict,
  gone: EXIT.notFound,
  precondition_failed: EXIT.conflict,
  too_large: EXIT.usage,
  unsupported_media_type: EXIT.failure,
  rate_limited: EXIT.unavailable,
  internal: EXIT.failure,
  unavailable: EXIT.unavailable,
  sealed: EXIT.unavailable,
};

const nextSteps: Partial<Record<CardeaError['code'], string>> = {
  unauthenticated: 'Sign in with: cardea login',
  access_denied: 'Ask an owner of the vault, or an admin. See which rule decides with: cardea explain',
  sealed: 'Its keys are locked until an operator unseals it: docs/unseal.md',
  unavailable: 'Try again later, and check the address with: cardea whoami --verbose',
  rate_limited: 'Wait a minute and try again.',
};

/** Tells on stderr what went wrong. @returns the exit code */
export function reportFailure(error: unknown, { verbose }: { verbose: boolean }): number {
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage;
  if (error instanceof CardeaError) {
    say(describe(error));
    if (verbose) say(details(error));
    return exitCodes[error.code];
  }
  if (error instanceof Failure) {
    say(error.message);
    return error.exitCode;
  }
  say(error instanceof Error ? error.message : String(error));
  if (verbose && error instanceof Error) say(error.stack ?? '');
  return EXIT.failure;
}

function describe({ code, message, mayBeDone }: CardeaError): string {
  const done = mayBeDone ? 'It may have been done: look before you repeat it.' : undefined;
  const sentences = [message, done, nextSteps[code]].filter((sentence) => sentence !== undefined);
  return sentences.map((sentence) => (/[.:!?]$/.test(sentence) ? sentence : `${sentence}.`)).join(' ');
}

function details({ code, status, requestId, errors }: CardeaError): string {
  const wrong = errors.map(({ path, message }) => `${path}: ${message}`);
  return [`code ${code}`, `status ${status ?? 'none'}`, `request ${requestId ?? 'none'}`, ...wrong].join(', ');
}

/** Writes a line for people to stderr, so that it is in nobody's data. Part of it may be what a server has answered. */
export function say(message: string): void {
  process.stderr.write(`cardea: ${message.split('\n').map(printable).join('\n')}\n`);
}
