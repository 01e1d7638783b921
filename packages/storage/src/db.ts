/**
 * A value that can be bound to a parameter. Booleans are stored as 0 and 1. Integers must be exact in a double: at most
 * ±(2^53 - 1). A time is a number of milliseconds since 1970, never a Date.
 */
export type SqlValue = string | number | bigint | boolean | Uint8Array | null;

export interface Queryable {
  /**
   * Runs one statement with `$1`, `$2` … as its parameters and returns its rows: integers as numbers, truth values as 0
   * or 1, bytes as Uint8Array. A mutation returns the rows it changed if it has a `returning` clause.
   * @throws UniqueViolation, DbUnavailable
   */
  query<Row>(sql: string, params?: SqlValue[]): Promise<Row[]>;
}

/** Only a `Db` creates one, so a function that takes a Transaction cannot be called outside of one. */
export interface Transaction extends Queryable {
  readonly inTransaction: true;
  /**
   * Waits until no other transaction holds the lock with this name, and holds it alone until the end. What it protects
   * must not have been read before: a serializable transaction goes on to see the rows as they were at its first
   * statement. SQLite has one writer, so nobody waits there.
   */
  lock(name: string): Promise<void>;
}

/**
 * The names of the locks that a transaction takes before its first statement and holds until its end. Several may hold
 * a shared lock, one an exclusive lock. Who waits is served in turn, so a stream of short transactions keeps nobody out.
 */
export interface Locks {
  shared?: readonly string[];
  exclusive?: readonly string[];
  /**
   * Whose transaction it is: see `callerKey`. Callers who wait have turns one after the other, and each has a share of
   * the places to wait in. On PostgreSQL one caller has at most half of the places of a process. All work without a
   * caller counts as that of one.
   */
  by?: string;
}

export interface Db extends Queryable {
  readonly engine: 'sqlite' | 'postgres';
  /**
   * Commits everything that `work` wrote, or nothing if `work` throws. Transactions are serializable on both engines.
   * `work` may run again after a conflict, so it must change nothing but `tx`. After a failed statement nothing
   * commits, even if `work` continues. `locks` are taken before the transaction begins, so it sees what was committed
   * under them.
   * A transaction that waits too long for its turn, or behind too many others, does not begin.
   * @throws CommitError if it is unknown whether the commit is on disk; any error of `work`; the errors of `query`;
   * QueueFull for one that does not begin
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>, locks?: Locks): Promise<T>;
  /**
   * Like `transaction`, but on PostgreSQL it is not serializable: each statement sees what others have committed before
   * it (`read committed`). `work` may begin before the locks are held; its statements wait. So everything that `work`
   * decides by must be held: by one of `locks`, or by `for update` in the statement that reads the row. For work that is
   * done so often that conflicts of serializable transactions would cost too much: see docs/decisions/014.
   */
  lockingTransaction<T>(locks: Locks, work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Resolves if the database answers. @throws DbUnavailable */
  ping(): Promise<void>;
  /** How many connections are open, are idle, and are waited for. Undefined for SQLite, which has one. For metrics. */
  connections?(): { open: number; idle: number; waiting: number };
  /** How many transactions have ended in which way since the start. Undefined for SQLite. For metrics. */
  outcomes?(): TransactionCounts;
  /** Waits for running statements and transactions, then closes every connection. */
  close(): Promise<void>;
}

/** Transactions since the start. One that is tried again is counted once more. */
export interface TransactionCounts {
  committed: number;
  /** PostgreSQL has rolled them back because of a conflict or a deadlock, and they are tried again. */
  conflict: number;
  /** The others that were rolled back: their work has thrown, or the database does not answer. */
  failed: number;
}

/** A row with the same primary or unique key already exists. */
export class UniqueViolation extends Error {
  override name = 'UniqueViolation';
  /** How the engine names the constraint: by its name (PostgreSQL) or its columns (SQLite). For log lines only. */
  readonly constraintHint?: string;

  constructor(message: string, options: ErrorOptions & { constraintHint?: string | undefined } = {}) {
    super(message, options);
    if (options.constraintHint !== undefined) this.constraintHint = options.constraintHint;
  }
}

/** COMMIT failed, and the transaction may or may not be on disk. The process that gets this error must end. */
export class CommitError extends Error {
  override name = 'CommitError';
}

/** Ends the process: only a fresh start can read from disk whether the failed commit is there (I5). */
export type OnCommitError = (error: CommitError) => never;

/** Returns a function that throws the error it is given, and passes a CommitError to `onCommitError` first. */
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

/** The disk of the database has no room, so nothing of what was refused is there. What is there can be read. */
export class DiskFull extends DbUnavailable {
  override name = 'DiskFull';
}

/** Too much waits for the database, which answers. Nothing of what is refused has begun. */
export class QueueFull extends DbUnavailable {
  override name = 'QueueFull';
  /** True if work of the same caller is what it would have waited for, or has waited for. */
  readonly isOwn: boolean;

  constructor(message: string, isOwn: boolean) {
    super(message);
    this.isOwn = isOwn;
  }
}

/**
 * The database answers, and does not let this process in: a wrong role, password, database or certificate, or a SQLite
 * file that another process owns. For a request it is as unavailable as one that does not answer. A start ends with it,
 * because it takes somebody to change something.
 */
export class DbRefused extends DbUnavailable {
  override name = 'DbRefused';
}

/** True if the database is away and may come back by itself. */
export function isAway(error: unknown): boolean {
  return error instanceof DbUnavailable && !(error instanceof DbRefused);
}
