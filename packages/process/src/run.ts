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
/** Exit code: a commit or fsync failed, so the next start must read the state from disk (I5). */
export const EXIT_FAIL_STOP = 74;

/** With this argument a service only checks its settings: it ends with 0 or 78 and writes nothing. */
const CHECK_SETTINGS = '--check-settings';
const ORPHAN_MS = 1_000;

/**
 * Runs a service's process: reads the settings, starts the service, reports that it is ready, and stops on a signal or
 * when the supervisor has ended. If the start throws a StartError, the process prints the message and exits with 78.
 * `cannotStart` lists errors of other packages that are treated like a StartError.
 */
export async function run<Config>(
  readSettings: (env: NodeJS.ProcessEnv) => Config | Promise<Config>,
  start: (config: Config) => Promise<Running>,
  cannotStart: (new () => Error)[] = [],
): Promise<void> {
  // Nobody reads the pipes of a killed supervisor. An error of the last log lines must not interrupt the stop.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  endWithSupervisor();
  let running: Running;
  try {
    const config = await readSettings(process.env);
    if (process.argv[2] === CHECK_SETTINGS) return;
    running = await start(config);
  } catch (error) {
    process.stderr.write(`${explain(error, [StartError, ...cannotStart])}\n`);
    process.exit(EXIT_BAD_START);
  }
  process.send?.({ type: 'ready', url: running.url, sealed: running.sealed });
  // Written now, because a killed process never writes it, and the next start would be slow again.
  flushCompileCache();

  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    running.stop().then(
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

/** Runs a command to its end. Prints an expected error, as `run` does, and then the exit code is 78. */
export async function runToEnd(work: () => Promise<void>, cannotStart: (new () => Error)[] = []): Promise<void> {
  try {
    await work();
  } catch (error) {
    process.stderr.write(`${explain(error, [StartError, ...cannotStart])}\n`);
    process.exitCode = EXIT_BAD_START;
  }
}

// The next start of Cardea waits for this process to end, so neither a slow client nor an unfinished start may delay
// it. Everything acknowledged is on disk at any moment (I4).
function endWithSupervisor(): void {
  process.on('disconnect', () => setTimeout(() => process.exit(1), ORPHAN_MS));
}

/** Returns one sentence that says what to do. @throws `thrown` if it is not an expected error */
function explain(thrown: unknown, expected: (new () => Error)[]): string {
  // An error of the clean-up is not the reason why the start failed.
  const [error] = inOrder(thrown);
  if (error instanceof Error && expected.some((kind) => error instanceof kind)) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') {
    return `The database of this service is damaged (${code}): put the data folder back from a backup.`;
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
