import { setTimeout as sleep } from 'node:timers/promises';
import { CommitError, DbUnavailable, DiskFull, QueueFull, UniqueViolation, throwAfter } from './db.ts';
import type { Db, Locks, OnCommitError, SqlValue, Transaction } from './db.ts';
import { pauseIfLong } from './long-work.ts';
import { ReadMemo } from './read-memo.ts';
import { openReader, openWriter } from './sqlite-connection.ts';
import type { Prepared, SqliteConnection } from './sqlite-connection.ts';
import { OpenTransactions, TransactionScope } from './transaction-scope.ts';
import { Turns } from './turns.ts';
import { WalSync } from './wal-sync.ts';
import type { SyncFile } from './wal-sync.ts';

const LOCK_WAIT_MS = 5000;
/** How many statements and transactions may wait for the one connection that writes, and for how long. */
const WRITES_WAITING_MAX = 1_000;
const WRITE_WAIT_MS = 15_000;

export interface SqliteOptions {
  /** How long to wait for another process or another `Db` that is writing, in milliseconds. */
  lockWaitMs?: number;
  /** How many writes of this `Db` may wait for their turn, a quarter of them of one caller. The default is 1,000. */
  writesWaitingMax?: number;
  /** How long a write waits for its turn, in milliseconds. The default is 15 s. */
  writeWaitMs?: number;
  /** Makes the WAL durable. The default is fdatasync. */
  syncFile?: SyncFile;
  /** Called with a CommitError before the caller gets it. */
  onCommitError?: OnCommitError;
}

/**
 * Opens a SQLite file in WAL mode, or creates it, readable by its owner only. A commit resolves once it is on disk, and
 * so does a read that shows it. Other writers continue during a sync and share the next one. One process should own the
 * file. `:memory:` is a database that lasts as long as this `Db`.
 * @throws Error if SQLite does not take a setting that durability or secrecy depends on
 */
export function openSqlite(path: string, options: SqliteOptions = {}): Db {
  const writer = openWriter(path);
  const reader = path === ':memory:' ? writer : openReader(path);
  const memo = new ReadMemo(() => Object.values(reader.query('pragma data_version')[0] as object)[0]);
  const openTransactions = new OpenTransactions();
  const wal = path === ':memory:' ? undefined : new WalSync(path, options.syncFile);
  const lockWaitMs = options.lockWaitMs ?? LOCK_WAIT_MS;
  const rethrow = throwAfter(options.onCommitError);
  const { writesWaitingMax = WRITES_WAITING_MAX } = options;
  // One connection writes. A statement between another caller's BEGIN and COMMIT would be rolled back with that
  // transaction, so every caller waits for its turn.
  const turns = new Turns({
    atOnce: 1,
    waitingMax: writesWaitingMax,
    ownWaitingMax: Math.ceil(writesWaitingMax / 4),
    waitMs: options.writeWaitMs ?? WRITE_WAIT_MS,
    refuse: (isOwn) => new QueueFull('too many writes wait for SQLite', isOwn),
  });
  let closing: Promise<void> | undefined;

  function query<Row>(sql: string, params?: SqlValue[]): Promise<Row[]> {
    try {
      openTransactions.refuseInside();
      const statement = reader === writer ? undefined : reader.prepare(sql);
      return statement?.reads ? read(statement, params) : write(sql, params);
    } catch (error) {
      return Promise.reject(translate(error));
    }
  }

  // Every read runs through this function, so it creates as few promises as possible.
  function read<Row>(statement: Prepared, params?: SqlValue[]): Promise<Row[]> {
    const rows = memo.read(statement, params) as Row[];
    // The rows may show a commit that a power cut can still undo.
    const pending = wal?.pending();
    return pending ? pending.then(() => rows, rethrow) : Promise.resolve(rows);
  }

  async function write<Row>(sql: string, params?: SqlValue[]): Promise<Row[]> {
    const turn = turns.take(async () => {
      try {
        return await whenFree(lockWaitMs, () => ({
          result: writeAlone(writer, sql, params) as Row[],
          durable: wal?.committed(),
        }));
      } finally {
        memo.forget();
      }
    });
    return await acknowledged(turn).catch(rethrow);
  }

  async function transaction<T>(work: (tx: Transaction) => Promise<T>, { by }: Locks = {}): Promise<T> {
    openTransactions.refuseInside();
    const turn = turns.take(async () => {
      await whenFree(lockWaitMs, () => writer.query('begin immediate'));
      try {
        return await runTransaction({ writer, wal, openTransactions }, work);
      } finally {
        memo.forget();
      }
    }, by);
    return await acknowledged(turn).catch(rethrow);
  }

  // The next turn begins while this one waits for the disk. It commits later, so it is never durable without this one.
  async function acknowledged<T>(turn: Promise<Committed<T>>): Promise<T> {
    try {
      const { result, durable } = await turn;
      await durable;
      return result;
    } catch (error) {
      // This turn wrote nothing, but it may have failed because of a commit that is not on disk yet.
      await wal?.pending();
      throw error;
    }
  }

  async function ping(): Promise<void> {
    // Does not use `query`, which may remember the rows.
    openTransactions.refuseInside();
    translating(() => reader.query('select count(*) from sqlite_schema'));
  }

  // Closes the reader first: the last connection moves the WAL into the file, and the reader cannot write.
  function close(): Promise<void> {
    closing ??= turns.takeLast(async () => {
      memo.forget();
      await wal?.close();
      reader.close();
      writer.close();
    });
    return closing;
  }

  return {
    engine: 'sqlite',
    query,
    transaction,
    lockingTransaction: (locks, work) => transaction(work, locks),
    ping,
    close,
  };
}

/** The result of a commit, and a promise that resolves once the commit is on disk. */
interface Committed<T> {
  result: T;
  durable: Promise<void> | undefined;
}

interface Writing {
  writer: SqliteConnection;
  wal: WalSync | undefined;
  openTransactions: OpenTransactions;
}

async function runTransaction<T>(
  { writer, wal, openTransactions }: Writing,
  work: (tx: Transaction) => Promise<T>,
): Promise<Committed<T>> {
  // A statement of SQLite waits for nothing, so a transaction of a thousand would keep the event loop until its end.
  const scope = new TransactionScope({
    run(sql, params) {
      const pause = pauseIfLong();
      const query = () => translating(() => writer.query(sql, params));
      return pause ? pause.then(query) : query();
    },
  });
  try {
    const result = await openTransactions.run(scope, work);
    await scope.finish();
    commit(writer);
    // In the same step as the commit: a read between the two would show a commit that is not on disk.
    return { result, durable: wal?.committed() };
  } catch (error) {
    await scope.finish().catch(() => undefined);
    // After some errors (disk full, I/O) SQLite has already rolled back, and a second rollback is an error.
    if (writer.inTransaction) rollback(writer, error);
    throw error;
  }
}

function commit(writer: SqliteConnection): void {
  try {
    writer.query('commit');
  } catch (error) {
    const translated = translate(error);
    // SQLite reports a deferred constraint before it writes. Without room, the frame that would make the transaction count
    // is not whole in the WAL: its checksum is wrong, and the next frames are written over it.
    if (isConstraint(error) || translated instanceof DiskFull) throw translated;
    throw new CommitError('SQLite could not commit', { cause: translated });
  }
}

function rollback(writer: SqliteConnection, first: unknown): void {
  try {
    writer.query('rollback');
  } catch (error) {
    // The connection is in an unknown state, and it is the only one that writes.
    throw new CommitError('SQLite could not roll back', { cause: new AggregateError([first, error]) });
  }
}

/** A statement outside of a transaction commits by itself, so an I/O error in it is a failed commit. */
function writeAlone(writer: SqliteConnection, sql: string, params: SqlValue[] | undefined): unknown[] {
  try {
    const rows = writer.query(sql, params);
    if (!writer.inTransaction) return rows;
  } catch (error) {
    if (codeOf(error).startsWith('SQLITE_IOERR')) throw new CommitError('SQLite could not commit', { cause: error });
    throw error;
  }
  writer.query('rollback');
  throw new Error('use Db.transaction to begin a transaction');
}

/** Tries again while another process or another `Db` on the same file holds the lock. */
async function whenFree<T>(waitMs: number, work: () => T): Promise<T> {
  const giveUpAt = performance.now() + waitMs;
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!codeOf(error).startsWith('SQLITE_BUSY') || performance.now() >= giveUpAt) throw translate(error);
    }
    await sleep(1 + Math.random() * 9);
  }
}

function translating<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translate(error);
  }
}

function translate(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY') {
    const hint = (error as Error).message.split(': ')[1];
    return new UniqueViolation('a row with this key already exists', { cause: error, constraintHint: hint });
  }
  if (code === 'SQLITE_FULL') return new DiskFull('the disk of the database is full', { cause: error });
  if (/^SQLITE_(BUSY|IOERR|CANTOPEN)/.test(code)) {
    return new DbUnavailable(`SQLite answered ${code}`, { cause: error });
  }
  return error;
}

function isConstraint(error: unknown): boolean {
  return codeOf(error).startsWith('SQLITE_CONSTRAINT');
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : '';
}
