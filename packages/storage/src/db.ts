/**
 * What may be bound to a parameter. Booleans are stored as 0 and 1; integers must be exact in a double (±(2^53 - 1));
 * a time is a number of milliseconds since 1970, never a Date.
 */
export type SqlValue = string | number | bigint | boolean | Uint8Array | null;

export interface Queryable {
  /**
   * Runs one statement with `$1`, `$2` … as its parameters and answers its rows: integers as numbers, truth values as
   * 0 or 1, bytes as Uint8Array. A mutation tells what it changed through `returning`.
   * @throws UniqueViolation, DbUnavailable
   */
  query<Row>(sql: string, params?: SqlValue[]): Promise<Row[]>;
}

/** Only `Db.transaction` hands one out, so a function that takes one cannot be called outside. */
export interface Transaction extends Queryable {
  readonly inTransaction: true;
}

export interface Db extends Queryable {
  readonly engine: 'sqlite' | 'postgres';
  /**
   * Commits what `work` did, or, if it throws, nothing. Serializable on both engines. `work` may run again after a
   * conflict, so it touches nothing but `tx`. Once a statement has failed nothing commits, even if `work` went on.
   * @throws CommitError if nobody can tell whether the commit is on disk; whatever `work` throws; else as `query`
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Resolves if the database answers. @throws DbUnavailable */
  ping(): Promise<void>;
  /** Waits for what is running, then closes every connection. */
  close(): Promise<void>;
}

/** A row with the same primary or unique key is there already. */
export class UniqueViolation extends Error {
  override name = 'UniqueViolation';
  /** The constraint as the engine calls it: its name (PostgreSQL) or its columns (SQLite). For log lines only. */
  readonly constraintHint?: string;

  constructor(message: string, options: ErrorOptions & { constraintHint?: string | undefined } = {}) {
    super(message, options);
    if (options.constraintHint !== undefined) this.constraintHint = options.constraintHint;
  }
}

/** COMMIT failed, and the transaction may or may not be on disk. The process that sees one must end. */
export class CommitError extends Error {
  override name = 'CommitError';
}

/** Ends the process: whether a commit that failed is on disk can only be read from disk, by a fresh start (I5). */
export type OnCommitError = (error: CommitError) => never;

/** Throws whatever it is given, a CommitError only after `onCommitError` has had it. */
export function throwAfter(onCommitError: OnCommitError | undefined): (error: unknown) => never {
  return (error) => {
    if (error instanceof CommitError) onCommitError?.(error);
    throw error;
  };
}

/** The database cannot be reached, is full, is busy or cannot be read. Trying later may help. */
export class DbUnavailable extends Error {
  override name = 'DbUnavailable';
}
