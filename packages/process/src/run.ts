import { flushCompileCache } from 'node:module';
import { StartError } from './config.ts';

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

/** With this argument a service only checks its settings: it ends with 0 or 78 and writes nothing. */
const CHECK_SETTINGS = '--check-settings';
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
    const config = await readSettings(process.env);
    if (process.argv[2] === CHECK_SETTINGS) return;
    running = await start(config);
  } catch (error) {
    const { message, exitCode } = explain(error, expected);
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
        process.stderr.write(`The service did not stop cleanly: ${inOrder(error).join('; ')}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
  // Under a supervisor, the supervisor handles Ctrl-C and stops the services in order.
  process.on('SIGINT', process.send ? () => {} : stop);
}

/** Runs a command to its end. Prints an expected error and sets the exit code, as `run` does. */
export async function runToEnd(work: () => Promise<void>, expected: ExpectedErrors = {}): Promise<void> {
  try {
    await work();
  } catch (error) {
    const { message, exitCode } = explain(error, expected);
    process.stderr.write(`${message}\n`);
    process.exitCode = exitCode;
  }
}

// The next start of Cardea waits for this process to end, so neither a slow client nor an unfinished start may delay
// it. Everything acknowledged is on disk at any moment (I4).
function endWithSupervisor(): void {
  process.on('disconnect', () => setTimeout(() => process.exit(1), ORPHAN_MS));
}

/** Returns one sentence that says what to do, and the exit code. @throws `thrown` if it is not an expected error */
function explain(thrown: unknown, expected: ExpectedErrors): { message: string; exitCode: number } {
  const { cannotStart = [], away = [] } = expected;
  // An error of the clean-up is not the reason why the start failed.
  const [error] = inOrder(thrown);
  const isOf = (kinds: (new (...args: never[]) => Error)[]) => kinds.some((kind) => error instanceof kind);
  // The first list first: it may have special cases of the second.
  if (isOf([StartError, ...cannotStart])) return { message: (error as Error).message, exitCode: EXIT_BAD_START };
  if (isOf(away)) return { message: (error as Error).message, exitCode: EXIT_AWAY };
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') {
    const message = `The database of this service is damaged (${code}): put the data folder back from a backup.`;
    return { message, exitCode: EXIT_BAD_START };
  }
  throw thrown;
}

/** Returns the thrown error and then the errors of the clean-up after it, oldest first. */
function inOrder(thrown: unknown): unknown[] {
  return thrown instanceof SuppressedError ? [...inOrder(thrown.suppressed), ...inOrder(thrown.error)] : [thrown];
}

/** Ends the process at once: memory and disk may differ, and only a fresh start reads what is on disk (I5). */
export function failStop(reason: string, error: unknown): never {
  process.stderr.write(
    `${reason}: ${String(error)}. The process stops, so that the next start reads what is on disk.\n`,
  );
  process.exit(EXIT_FAIL_STOP);
}
