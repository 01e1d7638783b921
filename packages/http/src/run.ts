import { flushCompileCache } from 'node:module';
import { StartError } from './config.ts';

/** A service that runs. */
export interface Running {
  url: string;
  /** Lets what is under way end, then frees everything. */
  stop(): Promise<void>;
}

/** Exit codes: what a supervisor may conclude from them. */
export const EXIT_BAD_START = 78;
/** A commit or fsync failed: what is on disk must be read again before going on (I5). */
export const EXIT_FAIL_STOP = 74;

/**
 * The life of a service's process: start, say so, stop on a signal or when the supervisor is gone.
 * A start that cannot succeed prints one sentence and exits with 78: a StartError, or one of the kinds in `cannotStart`,
 * of packages that know no processes.
 */
export async function run(start: () => Promise<Running>, cannotStart: (new () => Error)[] = []): Promise<void> {
  // A supervisor that was killed leaves pipes nobody reads; the last log lines must not end the drain.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  let running: Running;
  try {
    running = await start();
  } catch (error) {
    process.stderr.write(`${explain(error, [StartError, ...cannotStart])}\n`);
    process.exit(EXIT_BAD_START);
  }
  process.send?.({ type: 'ready', url: running.url });
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
