import type { Prepared } from './sqlite-connection.ts';
import type { SqlValue } from './db.ts';

const ANSWERS_MAX = 500;
const ROWS_MAX = 16;

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
  readonly #answers = new Map<Prepared, Map<string, unknown[]>>();
  #size = 0;
  #knownVersion: unknown;
  #isChecked = false;

  /** `version` answers something else whenever another connection has committed. */
  constructor(version: () => unknown) {
    this.#version = version;
  }

  /** What the statement answers now. The rows are shared, and frozen. */
  read(statement: Prepared, params: SqlValue[] = []): unknown[] {
    const key = keyOf(params);
    if (key === undefined) return statement.all(params);
    this.#check();
    return this.#answers.get(statement)?.get(key) ?? this.#ask(statement, params, key);
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

  #ask(statement: Prepared, params: SqlValue[], key: string): unknown[] {
    const rows = statement.all(params);
    if (rows.length > ROWS_MAX) return rows;
    if (this.#size >= ANSWERS_MAX) this.forget();
    for (const row of rows) Object.freeze(row);
    const answers = this.#answers.get(statement) ?? new Map<string, unknown[]>();
    this.#answers.set(statement, answers.set(key, Object.freeze(rows) as unknown[]));
    this.#size += 1;
    return rows;
  }
}

/** Different for different parameters; undefined for bytes, which nobody asks for twice. */
function keyOf(params: SqlValue[]): string | undefined {
  let key = '';
  for (const value of params) {
    if (value instanceof Uint8Array) return undefined;
    const text = String(value);
    key += `${typeof value} ${text.length} ${text} `;
  }
  return key;
}
