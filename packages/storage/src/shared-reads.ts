import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SqlValue } from './db.ts';

/** Sends a statement, and calls `sent` in the moment when it does. */
type Send = (sql: string, params: SqlValue[], sent: () => void) => Promise<unknown[]>;

/**
 * Answers equal reads with one statement if they are asked for before it is sent: in the same turn of the event loop, or
 * while it waits for a connection. The statement is sent after each of them was asked for, so each sees what was
 * committed before. A busy service repeats few reads very often: the session of a client, its grant, a popular secret.
 */
export class SharedReads {
  readonly #send: Send;
  readonly #waiting = new Map<string, Promise<readonly unknown[]>>();

  constructor(send: Send) {
    this.#send = send;
  }

  /** The rows are shared and frozen. @throws the error of the statement */
  read(sql: string, params: SqlValue[]): Promise<readonly unknown[]> {
    const key = JSON.stringify([sql, ...params]);
    const waiting = this.#waiting.get(key);
    if (waiting) return waiting;
    const rows = this.#readAlone(key, sql, params);
    this.#waiting.set(key, rows);
    return rows;
  }

  async #readAlone(key: string, sql: string, params: SqlValue[]): Promise<readonly unknown[]> {
    await nextTurn();
    let isSent = false;
    const forget = () => {
      // Another read may wait under the same key by now.
      if (!isSent) this.#waiting.delete(key);
      isSent = true;
    };
    try {
      const rows = await this.#send(sql, params, forget);
      for (const row of rows) Object.freeze(row);
      return Object.freeze(rows);
    } finally {
      forget();
    }
  }
}

/** Whether a statement only reads, and JSON tells its parameters apart. */
export function isSharable(sql: string, params: SqlValue[]): boolean {
  return (
    /^select\b/.test(sql) && params.every((value) => value === null || ['string', 'number'].includes(typeof value))
  );
}
