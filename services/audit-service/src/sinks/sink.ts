/** A place outside the database that gets every entry of the log. */
export interface Sink {
  /**
   * Hands over consecutive entries, by their exact bytes. Resolves once the sink has made them durable, as far as it
   * can tell. May get an entry twice, after a crash or an error.
   * @throws if it may not have all of them
   */
  deliver(batch: Batch, stop: AbortSignal): Promise<void>;
  /** Releases what it holds. Called once, after the last delivery. */
  close(): Promise<void>;
}

/** Consecutive entries. */
export interface Batch {
  /** The number of the first entry. */
  first: number;
  entries: Uint8Array[];
}

/** The entries as the export has them: one in each line. */
export function toLines(entries: Uint8Array[]): Buffer {
  const newline = Buffer.from('\n');
  return Buffer.concat(entries.flatMap((entry) => [entry, newline]));
}
