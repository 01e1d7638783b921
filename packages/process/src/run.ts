import { flushCompileCache } from 'node:module';
import { relative } from 'node:path';
import { CHECK_SETTINGS, checkedArguments } from './arguments.ts';
import type { CommandLine } from './arguments.ts';
import { isKnownCause, rootCode, withCause } from './cause.ts';
import { SettingsWrong, StartError } from './config.ts';

/** A running service. */
export interface Running {
  url: string;
  /** The URL of health and metrics. */
  opsUrl: string;
  /** True if this is a kek-service that waits for its passphrase. */
  sealed?: boolean;
  /** Waits for requests under way, then closes everything. */
  stop(): Promise<void>;
}

/** Exit code: the service cannot start, and another try would not help. */
export const EXIT_BAD_START = 78;
/** Exit code: something that the service needs is away, and another try may help (EX_TEMPFAIL of sysexits.h). */
const EXIT_AWAY = 75;
/** Exit code: a commit or fsync failed, so the next start must read the state from disk (I5). */
export const EXIT_FAIL_STOP = 74;

const ofServices: CommandLine = {
  usage: `usage: node ${relative('.', process.argv[1] ?? '')} [--${CHECK_SETTINGS}]

Starts the service with the settings in the environment: docs/configuration.md.
  --${CHECK_SETTINGS}   only checks the settings, and makes nothing`,
  options: { [CHECK_SETTINGS]: 'flag' },
};
const ORPHAN_MS = 1_000;

/** Errors of other packages that `run` explains by their messages. */
export interface ExpectedErrors {
  /** Another try would not help. As for a StartError, the exit code is 78. */
  cannotStart?: (new () => Error)[];
  /** Something is away, and another try may help. The exit code is 75. */
  away?: (new () => Error)[];
}

/**
 * Runs a service's process: reads the settings, starts the service, reports that it is ready, and stops on a signal or
 * when the supervisor has ended. If the start throws a StartError, the process prints the message and exits with 78.
 */
export async function run<Config>(
  readSettings: (env: NodeJS.ProcessEnv) => Config | Promise<Config>,
  start: (config: Config) => Promise<Running>,
  expected: ExpectedErrors = {},
): Promise<void> {
  // Nobody reads the pipes of a killed supervisor. An error of the last log lines must not interrupt the stop.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  endWithSupervisor();
  let running: Running | undefined;
  // A start may wait for what it needs. The first process of a container ignores a signal that it does not handle.
  process.on('SIGTERM', () => {
    if (!running) process.exit(0);
  });
  try {
    const { said } = checkedArguments(process.argv.slice(2), ofServices);
    if (CHECK_SETTINGS in said) return await checkSettings(() => readSettings(process.env));
    const config = await readSettings(process.env);
    running = await start(config);
  } catch (error) {
    const { message, exitCode } = explain(error, { ...expected, what: 'The service cannot start' });
    process.stderr.write(`${message}\n`);
    process.exit(exitCode);
  }
  const { stop: stopService } = running;
  process.send?.({ type: 'ready', url: running.url, sealed: running.sealed });
  // Written now, because a killed process never writes it, and the next start would be slow again.
  flushCompileCache();

  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    stopService().then(
      () => process.exit(0),
      (error: unknown) => {
        const reasons = inOrder(error).map((one) => (isKnownCause(one) ? withCause(String(one), one) : String(one)));
        process.stderr.write(`The service did not stop cleanly: ${reasons.join('; ')}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
  // Under a supervisor, the supervisor handles Ctrl-C and stops the services in order.
  process.on('SIGINT', process.send ? () => {} : stop);
}

// Its caller asks several services, and shows once what more than one of them says: so each problem has a line.
async function checkSettings(readSettings: () => unknown): Promise<void> {
  try {
    await readSettings();
  } catch (error) {
    if (!(error instanceof SettingsWrong)) throw error;
    process.stderr.write(`${error.problems.join('\n')}\n`);
    process.exitCode = EXIT_BAD_START;
  }
}

/** Runs a command to its end. Prints an expected error and sets the exit code, as `run` does. */
export async function runToEnd(work: () => Promise<void>, expected: ExpectedErrors = {}): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { message, exitCode } = explain(error, { ...expected, what: 'The command has failed' });
    process.stderr.write(`${message}\n`);
    process.exitCode = exitCode;
  }
}

// The next start of Cardea waits for this process to end, so neither a slow client nor an unfinished start may delay
// it. Everything acknowledged is on disk at any moment (I4).
function endWithSupervisor(): void {
  process.on('disconnect', () => setTimeout(() => process.exit(1), ORPHAN_MS));
}

/**
 * Returns one sentence that says why and what to do, and the exit code.
 * @throws `thrown` if it is neither an expected error nor one with a cause that operators know
 */
function explain(
  thrown: unknown,
  { what, cannotStart = [], away = [] }: ExpectedErrors & { what: string },
): { message: string; exitCode: number } {
  // An error of the clean-up is not the reason why the start failed.
  const [error] = inOrder(thrown);
  const isOf = (kinds: (new (...args: never[]) => Error)[]) => kinds.some((kind) => error instanceof kind);
  // The first list first: it may have special cases of the second.
  // Its message says it all.
  if (error instanceof StartError) return { message: error.message, exitCode: EXIT_BAD_START };
  if (isOf(cannotStart)) return { message: explained(error as Error), exitCode: EXIT_BAD_START };
  if (isOf(away)) return { message: explained(error as Error), exitCode: EXIT_AWAY };
  if (!isKnownCause(error)) throw thrown;
  const isDamaged = /^SQLITE_(NOTADB|CORRUPT)/.test(rootCode(error) ?? '');
  return { message: `${withCause(what, error)}.`, exitCode: isDamaged ? EXIT_BAD_START : EXIT_AWAY };
}

function explained({ message, cause }: Error): string {
  return cause === undefined ? message : `${withCause(message, cause)}.`;
}

/** Returns the thrown error and then the errors of the clean-up after it, oldest first. */
function inOrder(thrown: unknown): unknown[] {
  return thrown instanceof SuppressedError ? [...inOrder(thrown.suppressed), ...inOrder(thrown.error)] : [thrown];
}

/** Ends the process at once: memory and disk may differ, and only a fresh start reads what is on disk (I5). */
export function failStop(reason: string, error: unknown): never {
  process.stderr.write(
    `${withCause(reason, error)}. The process stops, so that the next start reads what is on disk.\n`,
  );
  process.exit(EXIT_FAIL_STOP);
}
