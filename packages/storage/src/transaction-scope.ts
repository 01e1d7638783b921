import { AsyncLocalStorage } from 'node:async_hooks';
import type { SqlValue, Transaction } from './db.ts';

interface Engine {
  run(sql: string, params: SqlValue[]): unknown;
  /** True if it takes a statement before the last one has ended, and runs none after one that failed. */
  pipelines?: boolean;
  /** Undefined for an engine with one writer. */
  lock?(name: string): Promise<void>;
}

/**
 * One run of one transaction, with the same meaning on both engines: statements take turns, nothing runs after the end,
 * and after a failed statement nothing else runs and nothing commits. (Without this class, PostgreSQL would silently
 * turn the COMMIT into a ROLLBACK, and SQLite would commit the other statements.)
 */
export class TransactionScope implements Transaction {
  readonly inTransaction = true;
  /** The error of the first failed statement. */
  failure: unknown;
  ended = false;

  readonly #engine: Engine;
  #lastStatement: Promise<unknown> = Promise.resolve();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async lock(name: string): Promise<void> {
    await this.#engine.lock?.(name);
  }

  query<Row>(sql: string, params: SqlValue[] = []): Promise<Row[]> {
    if (this.ended) return Promise.reject(new Error('this transaction has ended'));
    const before = this.#lastStatement;
    const statement = this.#engine.pipelines
      ? this.#runUnlessFailed(sql, params)
      : before.then(() => this.#runUnlessFailed(sql, params));
    // The caller of this statement gets the error. The next statement only has to wait for this one to end.
    this.#lastStatement = Promise.allSettled([before, statement]);
    return statement as Promise<Row[]>;
  }

  /** Ends the transaction and waits for its statements. @throws a failed statement's error, even if `work` caught it */
  async finish(): Promise<void> {
    this.ended = true;
    await this.#lastStatement;
    if (this.failure !== undefined) throw this.failure;
  }

  async #runUnlessFailed(sql: string, params: SqlValue[]): Promise<unknown> {
    if (this.failure !== undefined) {
      throw new Error('an earlier statement of this transaction failed', { cause: this.failure });
    }
    try {
      return await this.#engine.run(sql, params);
    } catch (error) {
      // A statement that is refused because another one has failed is answered after it.
      this.failure ??= error;
      throw error;
    }
  }
}

/** Knows whether the running code was called from inside an open transaction. */
export class OpenTransactions {
  readonly #current = new AsyncLocalStorage<TransactionScope>();

  run<T>(scope: TransactionScope, work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#current.run(scope, () => work(scope));
  }

  /** @throws Error inside a transaction: a statement of the `Db` would wait for that transaction to end, a deadlock */
  refuseInside(): void {
    if (this.#current.getStore()?.ended === false) throw new Error('inside a transaction, use tx and not the db');
  }
}
