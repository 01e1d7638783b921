import type { SqlValue } from './db.ts';
import type { Prepared } from './sqlite-connection.ts';

const ANSWERS_MAX = 500;
const ROWS_MAX = 16;

/** Rows by the parameters they were asked for with: a level of maps for each, since joining them to a key costs more. */
type Answers = readonly unknown[] | Map<SqlValue, Answers>;

/**
 * Remembers what small reads answered for as long as nobody has committed anything since. One `Db` of a process owns
 * the file; what another process commits is seen from the next turn of the event loop on.
 * A read of SQLite costs 10 to 30 µs, most of it for locks and for turning a row into an object; one that is
 * remembered costs less than 1 µs, and between two commits a service asks the same few questions all day.
 *
 * Whether somebody else has committed is asked once a turn (`pragma data_version`) and not again in that turn: word of
 * another process comes over a socket, in a later one. A commit of this `Db` calls `forget`.
 */
export class ReadMemo {
  readonly #version: () => unknown;
  readonly #answers = new Map<Prepared, Answers>();
  #size = 0;
  #knownVersion: unknown;
  #isChecked = false;

  /** `version` answers something else whenever another connection has committed. */
  constructor(version: () => unknown) {
    this.#version = version;
  }

  /** What the statement answers now. The rows are shared, and frozen. */
  read(statement: Prepared, params: SqlValue[] = []): unknown[] {
    this.#check();
    let answer = this.#answers.get(statement);
    for (const value of params) answer = answer instanceof Map ? answer.get(value) : undefined;
    return Array.isArray(answer) ? answer : this.#ask(statement, params);
  }

  /** Forgets everything: this process has committed. */
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
    // Bytes are never the same object again.
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
