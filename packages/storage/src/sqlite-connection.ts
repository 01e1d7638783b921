import { closeSync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import type { SqlValue } from './db.ts';

const STATEMENTS_MAX = 500;
const BUSY_TIMEOUT_MS = 5000;
const NO_PARAMS: SqlValue[] = [];

/** A literal, a parameter, or a clause that locks rows. */
const TOKEN = /'(?:[^']|'')*'|\$(\d+)|\bfor (?:update|share)\b(?: of \w+(?:, \w+)*)?/g;

/** A prepared statement. It knows which of the caller's parameters each `?` stands for. */
export interface Prepared {
  /** True if it returns rows and cannot write. */
  readonly reads: boolean;
  all(params?: SqlValue[]): unknown[];
}

/** One connection with its prepared statements. Everything on it is synchronous. */
export class SqliteConnection {
  readonly #database: Database.Database;
  readonly #statements = new Map<string, Prepared>();

  constructor(database: Database.Database) {
    this.#database = database;
  }

  get inTransaction(): boolean {
    return this.#database.inTransaction;
  }

  prepare(sql: string): Prepared {
    return this.#statements.get(sql) ?? this.#prepareOnce(sql);
  }

  query(sql: string, params?: SqlValue[]): unknown[] {
    return this.prepare(sql).all(params);
  }

  close(): void {
    this.#database.close();
  }

  #prepareOnce(sql: string): Prepared {
    const prepared = prepare(this.#database, sql);
    if (this.#statements.size >= STATEMENTS_MAX) this.#statements.delete(this.#statements.keys().next().value ?? '');
    this.#statements.set(sql, prepared);
    return prepared;
  }
}

/**
 * Opens the connection that writes. Its commits are on disk only after `WalSync` has synced the WAL.
 * @throws Error if SQLite does not take a setting that durability or secrecy depends on
 */
export function openWriter(path: string): SqliteConnection {
  // SQLite would create the file readable by everybody. It gives the WAL the same mode as the file.
  if (path !== ':memory:') closeSync(openSync(path, 'a', 0o600));
  const database = new Database(path, { timeout: BUSY_TIMEOUT_MS });
  database.exec(`
    pragma journal_mode = wal;
    pragma synchronous = normal;
    pragma fullfsync = on;
    pragma checkpoint_fullfsync = on;
    pragma secure_delete = on;
    pragma trusted_schema = off;
    pragma foreign_keys = on;
  `);
  verify(database, { journal_mode: path === ':memory:' ? 'memory' : 'wal', synchronous: 1, secure_delete: 1 });
  verify(database, { trusted_schema: 0, foreign_keys: 1 });
  // A busy timeout blocks the event loop. A lock that another Db of this process holds would then never be released, so
  // a writer waits in JavaScript instead.
  database.pragma('busy_timeout = 0');
  return new SqliteConnection(database);
}

/** Opens a connection that cannot write. In WAL mode it never waits for the connection that writes. */
export function openReader(path: string): SqliteConnection {
  const database = new Database(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
  database.exec('pragma trusted_schema = off');
  verify(database, { journal_mode: 'wal', trusted_schema: 0 });
  return new SqliteConnection(database);
}

function verify(database: Database.Database, settings: Record<string, string | number>): void {
  for (const [name, wanted] of Object.entries(settings)) {
    const actual = database.pragma(name, { simple: true });
    if (actual !== wanted) throw new Error(`SQLite has ${name} = ${String(actual)}, it must be ${wanted}`);
  }
}

function prepare(database: Database.Database, sql: string): Prepared {
  const order: number[] = [];
  // better-sqlite3 knows `?` but not `?1`. A `$1` inside a literal stays as it is. SQLite has one writer, so it has no
  // locks of rows.
  const text = sql.replace(TOKEN, (found, number?: string) => {
    if (found.startsWith("'")) return found;
    if (number === undefined) return '';
    order.push(Number(number) - 1);
    return '?';
  });
  const statement = database.prepare(text);
  const count = Math.max(-1, ...order) + 1;
  const bind = binder(order, count);
  if (statement.reader) {
    return { reads: statement.readonly, all: (params = NO_PARAMS) => statement.all(...bind(params)) };
  }
  return {
    reads: false,
    all(params = NO_PARAMS) {
      statement.run(...bind(params));
      return [];
    },
  };
}

function binder(order: number[], count: number): (params: SqlValue[]) => unknown[] {
  const inOrder = order.length === count && order.every((index, position) => index === position);
  return (params) => {
    if (params.length !== count) throw new RangeError(`${params.length} parameters for a statement with ${count}`);
    const values = params.map(bindable);
    return inOrder ? values : order.map((index) => values[index]);
  };
}

function bindable(value: SqlValue): unknown {
  if (typeof value === 'string' || value === null || typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  // better-sqlite3 binds every number as a real, and $1 / 2 would give another result than on PostgreSQL.
  if (Number.isSafeInteger(value)) return BigInt(value as number);
  if (typeof value === 'number' && Number.isFinite(value) && !Number.isInteger(value)) return value;
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`cannot bind ${typeof value === 'number' ? value : Object.prototype.toString.call(value)}`);
}
