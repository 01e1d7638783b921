import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { DatabaseError, Pool, types } from 'pg';
import type { PoolClient, QueryResult } from 'pg';
import { CommitError, DbRefused, DbUnavailable, DiskFull, QueueFull, UniqueViolation, throwAfter } from './db.ts';
import type { Db, Locks, OnCommitError, SqlValue, Transaction, TransactionCounts } from './db.ts';
import { LockQueues } from './lock-queues.ts';
import { LOCK, UNLOCK, inOrder, lockKey, sqlOfHeldLocks, sqlOfLocks } from './postgres-locks.ts';
import type { WantedLock } from './postgres-locks.ts';
import { SharedReads, isSharable } from './shared-reads.ts';
import { connectionTo } from './postgres-server.ts';
import type { PostgresServer } from './postgres-server.ts';
import { OpenTransactions, TransactionScope } from './transaction-scope.ts';
import { Turns } from './turns.ts';

const ATTEMPTS_MAX = 50;
const NAMED_STATEMENTS_MAX = 1000;
const CONNECTIONS = 20;
/** How many statements may wait for a connection, and how many transactions beside them. */
const WAITING_MAX = 1_000;
/** How long either waits. */
const CONNECTION_WAIT_MS = 5_000;
/** How long a transaction waits in this process for its locks, while it holds no connection. */
const LOCK_WAIT_MS = 15_000;
// More than a statement may take on the server.
const ANSWER_WITHIN_MS = 15_000;

export interface PostgresOptions {
  /** At most this many connections are open. The default is what the server says, or 20. */
  max?: number;
  /** How long a statement may take on the way to the server and back. 0 for a migration, which takes its time. */
  answerWithinMs?: number;
  /** How many statements may wait for a connection, and how many transactions beside them. The default is 1,000. */
  waitingMax?: number;
  /** Called with a CommitError before the caller gets it. */
  onCommitError?: OnCommitError;
}

/**
 * Opens a pool of connections to PostgreSQL 15 or later. The first statement makes the first connection. Statements are
 * prepared by name on each connection, so a pooler in between must support that (PgBouncer: `max_prepared_statements`).
 * A statement may take at most 10 s, of which it may wait 5 s for a lock. Waiting for a connection may take 5 s. Of many
 * connections, transactions leave a quarter to reads, because they keep theirs while they wait for locks of other
 * processes, and one caller has at most four fifths of what transactions have.
 * A connection that is dead, although nobody has closed it, is given up after 15 s.
 */
export function openPostgres(server: PostgresServer | string, options: PostgresOptions = {}): Db {
  const pool = openPool(typeof server === 'string' ? { url: server } : server, options);
  const openTransactions = new OpenTransactions();
  const rethrow = throwAfter(options.onCommitError);
  const counts: TransactionCounts = { committed: 0, conflict: 0, failed: 0 };
  const { max } = pool.options;
  const { waitingMax = WAITING_MAX } = options;
  const waits = {
    waitingMax,
    ownWaitingMax: Math.ceil(waitingMax / 4),
    waitMs: CONNECTION_WAIT_MS,
    refuse: tooManyWait,
  };
  const atOnce = max - Math.floor(max / 4);
  const turns = new Turns({ atOnce, ownAtOnce: atOnce - Math.ceil(atOnce / 5), ...waits });
  const lockQueues = new LockQueues({ ...waits, waitMs: LOCK_WAIT_MS });
  let closing: Promise<void> | undefined;

  const reads = new SharedReads(send);

  function send(sql: string, params: SqlValue[], sent?: () => void): Promise<unknown[]> {
    return withClient({ pool, waitingMax }, (client) => {
      sent?.();
      return runStatement(client, sql, params);
    });
  }

  async function query<Row>(sql: string, params: SqlValue[] = []): Promise<Row[]> {
    openTransactions.refuseInside();
    const rows = isSharable(sql, params) ? reads.read(sql, params) : send(sql, params);
    return (await rows.catch(rethrow)) as Row[];
  }

  async function run<T>(
    work: (tx: Transaction) => Promise<T>,
    { locks, by, begin, held = '' }: { locks: WantedLock[]; by: string | undefined; begin: string; held?: string },
  ): Promise<T> {
    openTransactions.refuseInside();
    const attempts = (client: PoolClient, spoil: () => void) =>
      untilNoConflict(counts, () => {
        const attempt = () => runTransaction(client, { begin, openTransactions }, work);
        // Given back after each attempt: otherwise two that wait for each other would do so again.
        return held === '' ? attempt() : holding(client, { held, spoil }, attempt);
      });
    // First the locks: who waits for one must keep no turn from the transactions of others.
    const inTurn = () => turns.take(() => withClient({ pool, waitingMax }, attempts), by);
    return await lockQueues.hold(locks, inTurn, by).catch(rethrow);
  }

  function transaction<T>(work: (tx: Transaction) => Promise<T>, wanted: Locks = {}): Promise<T> {
    const locks = inOrder(wanted);
    const begin = 'begin isolation level serializable';
    return run(work, { locks, by: wanted.by, begin, held: sqlOfHeldLocks(locks) });
  }

  function lockingTransaction<T>(wanted: Locks, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const locks = inOrder(wanted);
    return run(work, { locks, by: wanted.by, begin: `begin isolation level read committed${sqlOfLocks(locks)}` });
  }

  async function ping(): Promise<void> {
    await query('select 1');
  }

  function close(): Promise<void> {
    // Shared reads are sent in the next turn.
    closing ??= nextTurn().then(() => pool.end());
    return closing;
  }

  function connections(): { open: number; idle: number; waiting: number } {
    const { totalCount: open, idleCount: idle, waitingCount } = pool;
    // A caller that gets an idle connection in the next turn of the event loop is counted too, and does not wait.
    return { open, idle, waiting: turns.waiting + Math.max(0, waitingCount - idle) };
  }

  return {
    engine: 'postgres',
    query,
    // SQLite has only serializable transactions. With the same level on PostgreSQL, "transaction" has one meaning.
    transaction,
    lockingTransaction,
    ping,
    connections,
    outcomes: () => ({ ...counts }),
    close,
  };
}

function openPool(
  server: PostgresServer,
  { max = server.connections ?? CONNECTIONS, answerWithinMs = ANSWER_WITHIN_MS }: PostgresOptions,
): Pool {
  const pool = new Pool({
    // A role may change the settings of its own sessions, so a stolen password would end the durability of all later ones.
    // What a connection asks for wins. `options` in the URL win over this: `remote_apply` can be asked for there.
    options: '-c synchronous_commit=on',
    ...connectionTo(server),
    max,
    connectionTimeoutMillis: CONNECTION_WAIT_MS,
    statement_timeout: 10_000,
    lock_timeout: 5000,
    idle_in_transaction_session_timeout: 30_000,
    // The server cannot tell this side that its answer is late if nothing arrives at all.
    query_timeout: answerWithinMs,
    keepAlive: true,
    // The statements of a transaction that do not need each other's rows are sent together. pg then destroys a connection
    // whose answer is late, so a rollback on it fails at once and waits for no second answer.
    pipeline: true,
    keepAliveInitialDelayMillis: 10_000,
    types: { getTypeParser },
  });
  // A connection that breaks while it is idle emits an error event, and without a listener the event ends the process.
  // The pool drops the connection by itself, and a statement on it fails with DbUnavailable.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

const INT8: number = types.builtins.INT8;
const NUMERIC: number = types.builtins.NUMERIC;
const BOOL: number = types.builtins.BOOL;
const defaultTypeParser: (oid: number, format?: 'text' | 'binary') => unknown = types.getTypeParser;

/** Makes rows the same on both engines: int8 and sums (numeric) are numbers, truth values are 0 or 1. */
function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  if (oid === INT8 || oid === NUMERIC) return Number;
  if (oid === BOOL) return (text: string) => (text === 't' ? 1 : 0);
  return defaultTypeParser(oid, format);
}

/** Work that calls `spoil` returns its result, and its connection is closed. */
async function withClient<T>(
  { pool, waitingMax }: { pool: Pool; waitingMax: number },
  work: (client: PoolClient, spoil: () => void) => Promise<T>,
): Promise<T> {
  if (pool.waitingCount >= waitingMax) throw tooManyWait(false);
  const client = await connect(pool);
  let broken = true;
  let isSpoilt = false;
  try {
    const result = await work(client, () => (isSpoilt = true));
    broken = false;
    return result;
  } catch (error) {
    broken = error instanceof DbUnavailable || error instanceof CommitError || error instanceof RollbackFailed;
    throw error instanceof RollbackFailed ? error.first : error;
  } finally {
    client.release(broken || isSpoilt);
  }
}

/** Holds locks during `work`. A connection that does not give them back is closed, and PostgreSQL gives them back. */
async function holding<T>(
  client: PoolClient,
  { held, spoil }: { held: string; spoil: () => void },
  work: () => Promise<T>,
): Promise<T> {
  try {
    await runPlain(client, held);
    return await work();
  } finally {
    await runPlain(client, UNLOCK).catch(spoil);
  }
}

function tooManyWait(isOwn: boolean): QueueFull {
  return new QueueFull('too many statements wait for PostgreSQL', isOwn);
}

async function connect(pool: Pool): Promise<PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    if (isRefusal(error)) {
      throw new DbRefused('PostgreSQL does not let this service in', { cause: error });
    }
    throw new DbUnavailable('PostgreSQL cannot be reached', { cause: error });
  }
}

/** Class 28 is a wrong login, 3D000 a database that does not exist, 42501 a role that may not connect. */
function isRefusal(error: unknown): boolean {
  if (error instanceof DatabaseError) return /^(28|3D000|42501)/.test(error.code ?? '');
  // What OpenSSL and Node say of a certificate that does not verify. Codes of sockets begin with E too, but not so.
  const { code = '' } = error as NodeJS.ErrnoException;
  return /^(ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/.test(code);
}

async function untilNoConflict<T>(counts: TransactionCounts, attempt: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      const result = await attempt();
      counts.committed += 1;
      return result;
    } catch (error) {
      counts[isConflict(error) ? 'conflict' : 'failed'] += 1;
      if (!isConflict(error)) throw error;
      if (attempts === ATTEMPTS_MAX) throw new DbUnavailable('too many conflicting transactions', { cause: error });
    }
    await sleep(Math.random() * 5 * attempts);
  }
}

async function runTransaction<T>(
  client: PoolClient,
  { begin, openTransactions }: { begin: string; openTransactions: OpenTransactions },
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const scope = new TransactionScope({
    run: (sql, params) => runStatement(client, sql, params),
    pipelines: true,
    lock: async (name) => void (await scope.query(LOCK, [lockKey(name)])),
  });
  // If a lock is refused, the transaction has begun and has failed: no statement behind it runs.
  const begun = runPlain(client, begin);
  try {
    const result = await after(begun, openTransactions.run(scope, work));
    await finishAndCommit(client, scope);
    return result;
  } catch (error) {
    await scope.finish().catch(() => undefined);
    // `work` may have replaced the error of a conflict or a lost connection with its own. A conflict runs again in any
    // case, and a lost connection is reported as one.
    if (error instanceof CommitError) throw error;
    const first = isConflict(scope.failure) || scope.failure instanceof DbUnavailable ? scope.failure : error;
    await rollback(client, first);
    throw first;
  }
}

/**
 * Sends the commit behind the statements that `work` has not waited for. If one of them fails, PostgreSQL rolls back
 * instead, and the error of that statement is thrown. If the answer to the commit does not come, nobody knows.
 */
async function finishAndCommit(client: PoolClient, scope: TransactionScope): Promise<void> {
  const finished = scope.finish();
  if (scope.failure !== undefined) return finished;
  const [statements, committed] = await Promise.allSettled([finished, commit(client)]);
  // A statement that the server has refused, or ended with the connection, has ended the transaction before the commit.
  if (statements.status === 'rejected' && isAnswer(statements.reason)) throw statements.reason;
  if (committed.status === 'rejected' && committed.reason instanceof CommitError) throw committed.reason;
  if (statements.status === 'rejected') throw statements.reason;
  if (committed.status === 'rejected') throw committed.reason;
}

/** The result of `work`. If `first` fails, its error, whatever `work` made of it. */
async function after<T>(first: Promise<void>, work: Promise<T>): Promise<T> {
  const [begun, done] = await Promise.allSettled([first, work]);
  if (begun.status === 'rejected') throw begun.reason;
  if (done.status === 'rejected') throw done.reason;
  return done.value;
}

// Without a name and parameters, several statements are one message. It throws a conflict if its locks are a deadlock.
async function runPlain(client: PoolClient, statements: string): Promise<void> {
  sendTogether(client);
  try {
    await client.query(statements);
  } catch (error) {
    throw translate(error);
  }
}

async function commit(client: PoolClient): Promise<void> {
  let answer: QueryResult;
  try {
    answer = await client.query('commit');
  } catch (error) {
    // PostgreSQL reports conflicts (class 40) and deferred constraints (class 23) before it writes anything.
    if (/^(40|23)/.test(sqlStateOf(error))) throw translate(error);
    throw new CommitError('PostgreSQL could not commit', { cause: error });
  }
  if (answer.command !== 'COMMIT') throw new Error(`PostgreSQL answered commit with ${answer.command}`);
}

async function rollback(client: PoolClient, first: unknown): Promise<void> {
  try {
    await client.query('rollback');
  } catch (error) {
    const shown = isConflict(first) ? new DbUnavailable('the connection was lost', { cause: first }) : first;
    throw new RollbackFailed(shown, error);
  }
}

/** The connection is unusable, but the caller must get the first error, not this one. */
class RollbackFailed extends Error {
  readonly first: unknown;

  constructor(first: unknown, cause: unknown) {
    super('rollback failed', { cause });
    this.first = first;
  }
}

async function runStatement(client: PoolClient, sql: string, params: SqlValue[]): Promise<unknown[]> {
  const values = params.map(bindable);
  sendTogether(client);
  try {
    return (await client.query({ ...named(sql), values })).rows as unknown[];
  } catch (error) {
    throw translate(error);
  }
}

/**
 * What a turn of the event loop sends on a connection goes in one write. Each write wakes the server, which costs more than
 * many a statement.
 */
function sendTogether(client: PoolClient): void {
  const { stream } = client.connection;
  if (stream.writableCorked > 0) return;
  stream.cork();
  process.nextTick(() => stream.uncork());
}

const names = new Map<string, { name: string; text: string }>();

/**
 * A named statement is parsed and planned once per connection. Measured: twice the throughput of unnamed statements.
 */
function named(sql: string): { name?: string; text: string } {
  const known = names.get(sql);
  if (known) return known;
  // SQL texts come from the source, so there are few. If code ever assembles them at run time, the rest stay unnamed.
  if (names.size >= NAMED_STATEMENTS_MAX) return { text: sql };
  const fresh = { name: `s${names.size}`, text: sql };
  names.set(sql, fresh);
  return fresh;
}

function bindable(value: SqlValue): unknown {
  if (typeof value === 'string' || value === null) return value;
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))) return String(value);
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new TypeError(`cannot bind ${typeof value === 'number' ? value : Object.prototype.toString.call(value)}`);
}

function translate(error: unknown): unknown {
  const code = sqlStateOf(error);
  if (code === '23505') {
    const constraintHint = (error as DatabaseError).constraint;
    return new UniqueViolation('a row with this key already exists', { cause: error, constraintHint });
  }
  if (code === '53100') return new DiskFull('the disk of PostgreSQL is full', { cause: error });
  if (isUnavailable(code)) return new DbUnavailable(`PostgreSQL answered ${code || 'nothing'}`, { cause: error });
  return error;
}

/**
 * An error without a SQLSTATE came from the connection, not from the server. Class 08 is a connection error, 53 no room
 * on disk, in memory or among connections, 57P a server that shuts down, 58 an I/O error, 57014 a statement that took
 * too long, 55P03 a lock that took too long, 25006 a server that became a standby, 25P03 a transaction that was idle for
 * too long.
 */
function isUnavailable(sqlState: string): boolean {
  return sqlState === '' || /^(08|53|57P|57014|55P03|58|25006|25P03)/.test(sqlState);
}

function isConflict(error: unknown): boolean {
  const code = sqlStateOf(error);
  return code === '40001' || code === '40P01';
}

/** Whether the server itself says that a statement failed. */
function isAnswer(error: unknown): boolean {
  return sqlStateOf(error) !== '' || (error instanceof Error && sqlStateOf(error.cause) !== '');
}

function sqlStateOf(error: unknown): string {
  return error instanceof DatabaseError ? (error.code ?? '') : '';
}
