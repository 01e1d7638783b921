import { flushCompileCache } from 'node:module';
import { StartError } from './config.ts';

/** A service that runs. */
export interface Running {
  url: string;
  /** True of a kek-service that waits for its passphrase. */
  sealed?: boolean;
  /** Lets what is under way end, then frees everything. */
  stop(): Promise<void>;
}

/** Exit codes: what a supervisor may conclude from them. */
export const EXIT_BAD_START = 78;
/** A commit or fsync failed: what is on disk must be read again before going on (I5). */
export const EXIT_FAIL_STOP = 74;

/** With this argument a service only judges its settings: it ends with 0 or 78, and has written nothing. */
const CHECK_SETTINGS = '--check-settings';
const ORPHAN_MS = 1_000;

/**
 * The life of a service's process: read the settings, start, say so, stop on a signal or when the supervisor is gone.
 * A start that cannot succeed prints one sentence and exits with 78: a StartError, or one of the kinds in `cannotStart`,
 * of packages that know no processes.
 */
export async function run<Config>(
  readSettings: (env: NodeJS.ProcessEnv) => Config | Promise<Config>,
  start: (config: Config) => Promise<Running>,
  cannotStart: (new () => Error)[] = [],
): Promise<void> {
  // A supervisor that was killed leaves pipes nobody reads; the last log lines must not end the drain.
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
  // Written now, because a process that is killed never writes it, and the next start is slow again.
  flushCompileCache();

  let stopping = false;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    running.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`The service did not stop cleanly: ${String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
  // Under a supervisor the terminal's Ctrl-C is the supervisor's, which stops services in their order.
  process.on('SIGINT', process.send ? () => {} : stop);
}

// Whoever starts Cardea anew waits for this process to end, so neither a slow client nor a start that is under way may
// hold it up. What was acknowledged is on disk at any moment (I4).
function endWithSupervisor(): void {
  process.on('disconnect', () => setTimeout(() => process.exit(1), ORPHAN_MS));
}

/** One sentence that says what to do. @throws `error`, if it is one that nobody foresaw */
function explain(error: unknown, expected: (new () => Error)[]): string {
  if (error instanceof Error && expected.some((kind) => error instanceof kind)) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'SQLITE_NOTADB' || code === 'SQLITE_CORRUPT') {
    return `The database of this service is damaged (${code}): put the data folder back from a backup.`;
  }
  throw error;
}

/** Ends the process at once: memory and disk may disagree, and only a fresh start can tell (I5). */
export function failStop(reason: string, error: unknown): never {
  process.stderr.write(`${reason}: ${String(error)}; stopping so that the next start reads the truth from disk.\n`);
  process.exit(EXIT_FAIL_STOP);
}
