import type { SqlValue } from './db.ts';
import type { Prepared } from './sqlite-connection.ts';

const ANSWERS_MAX = 500;
const ROWS_MAX = 16;

/** Rows by parameters, with one level of maps for each parameter: joining the parameters to one key costs more. */
type Answers = readonly unknown[] | Map<SqlValue, Answers>;

/**
 * Remembers the rows of small reads until the next commit. One `Db` of a process owns the file. A commit of another
 * process is seen from the next turn of the event loop on. A read of SQLite costs 10 to 30 µs, most of it for locks and
 * for turning a row into an object. A remembered read costs less than 1 µs, and between two commits a service repeats
 * the same few reads.
 *
 * The memo asks SQLite once in each turn of the event loop whether another connection has committed
 * (`pragma data_version`). Once is enough: news from another process arrives over a socket, in a later turn. A commit
 * of this `Db` calls `forget`.
 */
export class ReadMemo {
  readonly #version: () => unknown;
  readonly #answers = new Map<Prepared, Answers>();
  #size = 0;
  #knownVersion: unknown;
  #isChecked = false;

  /** `version` returns a different value after every commit of another connection. */
  constructor(version: () => unknown) {
    this.#version = version;
  }

  /** Returns the statement's rows as of now. The rows are shared and frozen. */
  read(statement: Prepared, params: SqlValue[] = []): unknown[] {
    this.#check();
    let answer = this.#answers.get(statement);
    for (const value of params) answer = answer instanceof Map ? answer.get(value) : undefined;
    return Array.isArray(answer) ? answer : this.#ask(statement, params);
  }

  /** Forgets everything. Must be called after a commit of this process. */
  forget(): void {
    this.#answers.clear();
    this.#size = 0;
    this.#isChecked = false;
  }

  #check(): void {
    if (this.#isChecked) return;
    const version = this.#version();
    if (version !== this.#knownVersion) this.forget();
    this.#knownVersion = version;
    this.#isChecked = true;
    setImmediate(() => {
      this.#isChecked = false;
    });
  }

  #ask(statement: Prepared, params: SqlValue[]): unknown[] {
    const rows = statement.all(params);
    // Maps compare bytes by identity, so bytes would never be found again.
    if (rows.length > ROWS_MAX || params.some((value) => value instanceof Uint8Array)) return rows;
    if (this.#size >= ANSWERS_MAX) this.forget();
    for (const row of rows) Object.freeze(row);
    this.#keep(statement, params, Object.freeze(rows));
    this.#size += 1;
    return rows;
  }

  #keep(statement: Prepared, params: SqlValue[], rows: readonly unknown[]): void {
    let [map, key]: [Map<unknown, Answers>, unknown] = [this.#answers, statement];
    for (const value of params) {
      let next = map.get(key);
      if (!(next instanceof Map)) map.set(key, (next = new Map()));
      [map, key] = [next, value];
    }
    map.set(key, rows);
  }
}
