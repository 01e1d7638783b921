import { setTimeout as sleep } from 'node:timers/promises';
import { CommitError, DbUnavailable, UniqueViolation, throwAfter } from './db.ts';
import type { Db, OnCommitError, SqlValue, Transaction } from './db.ts';
import { ReadMemo } from './read-memo.ts';
import { openReader, openWriter } from './sqlite-connection.ts';
import type { Prepared, SqliteConnection } from './sqlite-connection.ts';
import { OpenTransactions, TransactionScope } from './transaction-scope.ts';
import { WalSync } from './wal-sync.ts';
import type { SyncFile } from './wal-sync.ts';

const LOCK_WAIT_MS = 5000;

export interface SqliteOptions {
  /** How long to wait for another process (or another `Db`) that is writing, in milliseconds. */
  lockWaitMs?: number;
  /** How the WAL is made durable: fdatasync. */
  syncFile?: SyncFile;
  /** Called with a CommitError before anybody else gets it. */
  onCommitError?: OnCommitError;
}

/**
 * Opens (or creates, readable by its owner only) a SQLite file in WAL mode. Whoever commits, and whoever reads what was
 * committed, is answered once it is on disk; writers go on meanwhile, and share the next fsync. One process should own
 * the file. `:memory:` is a database that dies with this `Db`.
 * @throws Error if SQLite does not take a setting that durability or secrecy depends on
 */
export function openSqlite(path: string, options: SqliteOptions = {}): Db {
  const writer = openWriter(path);
  const reader = path === ':memory:' ? writer : openReader(path);
  const memo = new ReadMemo(() => Object.values(reader.query('pragma data_version')[0] as object)[0]);
  const openTransactions = new OpenTransactions();
  const wal = path === ':memory:' ? undefined : new WalSync(path, options.syncFile);
  const lockWaitMs = options.lockWaitMs ?? LOCK_WAIT_MS;
  const refuse = throwAfter(options.onCommitError);
  let lastTurn: Promise<unknown> = Promise.resolve();
  let closing: Promise<void> | undefined;

  // One connection writes: a statement let in between another caller's BEGIN and COMMIT would be rolled back with it,
  // so every caller waits its turn.
  function takeTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = lastTurn.then(work);
    lastTurn = turn.catch(() => undefined);
    return turn;
  }

  function query<Row>(sql: string, params?: SqlValue[]): Promise<Row[]> {
    try {
      openTransactions.refuseInside();
      const statement = reader === writer ? undefined : reader.prepare(sql);
      return statement?.reads ? read(statement, params) : write(sql, params);
    } catch (error) {
      return Promise.reject(translate(error));
    }
  }

  // The way of every read: no more promises than it takes.
  function read<Row>(statement: Prepared, params?: SqlValue[]): Promise<Row[]> {
    const rows = memo.read(statement, params) as Row[];
    // They may show a commit that a power cut would still undo.
    const pending = wal?.pending();
    return pending ? pending.then(() => rows, refuse) : Promise.resolve(rows);
  }

  async function write<Row>(sql: string, params?: SqlValue[]): Promise<Row[]> {
    const turn = takeTurn(async () => {
      try {
        return await whenFree(lockWaitMs, () => ({
          result: writeAlone(writer, sql, params) as Row[],
          durable: wal?.committed(),
        }));
      } finally {
        memo.forget();
      }
    });
    return await acknowledged(turn).catch(refuse);
  }

  async function transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    openTransactions.refuseInside();
    const turn = takeTurn(async () => {
      await whenFree(lockWaitMs, () => writer.query('begin immediate'));
      try {
        return await runTransaction({ writer, wal, openTransactions }, work);
      } finally {
        memo.forget();
      }
    });
    return await acknowledged(turn).catch(refuse);
  }

  // The next turn begins while this one waits for the disk: it commits after it, so it is never durable without it.
  async function acknowledged<T>(turn: Promise<Committed<T>>): Promise<T> {
    try {
      const { result, durable } = await turn;
      await durable;
      return result;
    } catch (error) {
      // Nothing of this one is written, but what made it fail may be a commit on its way to the disk.
      await wal?.pending();
      throw error;
    }
  }

  async function ping(): Promise<void> {
    // Not by `query`, which may remember the answer.
    openTransactions.refuseInside();
    translating(() => reader.query('select count(*) from sqlite_schema'));
  }

  // The reader first: whoever closes last moves the WAL into the file, and the reader could not.
  function close(): Promise<void> {
    closing ??= takeTurn(async () => {
      memo.forget();
      await wal?.close();
      reader.close();
      writer.close();
    });
    return closing;
  }

  return { engine: 'sqlite', query, transaction, ping, close };
}

/** What was committed, and when it is on disk. */
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
  const scope = new TransactionScope((sql, params) => translating(() => writer.query(sql, params)));
  try {
    const result = await openTransactions.run(scope, work);
    await scope.finish();
    commit(writer);
    // In the same step as the commit: whoever reads between the two would be told what is not on disk.
    return { result, durable: wal?.committed() };
  } catch (error) {
    await scope.finish().catch(() => undefined);
    // SQLite has already rolled back after some errors (disk full, I/O); a second time is an error.
    if (writer.inTransaction) rollback(writer, error);
    throw error;
  }
}

function commit(writer: SqliteConnection): void {
  try {
    writer.query('commit');
  } catch (error) {
    const translated = translate(error);
    // A deferred constraint: SQLite says so before it writes.
    if (isConstraint(error)) throw translated;
    throw new CommitError('SQLite could not commit', { cause: translated });
  }
}

function rollback(writer: SqliteConnection, first: unknown): void {
  try {
    writer.query('rollback');
  } catch (error) {
    // The connection is in an unknown state and the only one that writes.
    throw new CommitError('SQLite could not roll back', { cause: new AggregateError([first, error]) });
  }
}

/** A statement of its own commits by itself, so an I/O error in it is one of a commit. */
function writeAlone(writer: SqliteConnection, sql: string, params: SqlValue[] | undefined): unknown[] {
  try {
    const rows = writer.query(sql, params);
    if (!writer.inTransaction) return rows;
  } catch (error) {
    if (codeOf(error).startsWith('SQLITE_IOERR')) throw new CommitError('SQLite could not commit', { cause: error });
    throw error;
  }
  writer.query('rollback');
  throw new Error('a transaction begins with Db.transaction');
}

/** Tries again while another process, or another `Db` on the same file, holds the lock. */
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
    return new UniqueViolation('a row with this key is there already', { cause: error, constraintHint: hint });
  }
  if (/^SQLITE_(BUSY|FULL|IOERR|CANTOPEN)/.test(code)) {
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
