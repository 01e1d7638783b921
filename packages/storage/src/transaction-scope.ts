import { AsyncLocalStorage } from 'node:async_hooks';
import type { SqlValue, Transaction } from './db.ts';

type RunStatement = (sql: string, params: SqlValue[]) => unknown;

/**
 * One run of one transaction, with one meaning on both engines: statements take turns, nothing runs after the end, and
 * after a failed statement nothing else runs and nothing commits. (PostgreSQL answers COMMIT with a silent ROLLBACK
 * then; SQLite would commit the rest.)
 */
export class TransactionScope implements Transaction {
  readonly inTransaction = true;
  /** What the first failed statement threw. */
  failure: unknown;
  ended = false;

  readonly #run: RunStatement;
  #lastStatement: Promise<unknown> = Promise.resolve();

  constructor(run: RunStatement) {
    this.#run = run;
  }

  query<Row>(sql: string, params: SqlValue[] = []): Promise<Row[]> {
    if (this.ended) return Promise.reject(new Error('this transaction has ended'));
    const statement = this.#lastStatement.then(() => this.#runUnlessFailed(sql, params));
    // Whoever asked gets the rejection; here it only decides that nothing commits.
    this.#lastStatement = statement.catch(() => undefined);
    return statement as Promise<Row[]>;
  }

  /** Ends the transaction: waits for statements nobody waited for. @throws what a statement threw that `work` caught */
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
      return await this.#run(sql, params);
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}

/** Knows whether the code that is running was called by the work of an open transaction. */
export class OpenTransactions {
  readonly #current = new AsyncLocalStorage<TransactionScope>();

  run<T>(scope: TransactionScope, work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#current.run(scope, () => work(scope));
  }

  /** @throws Error inside a transaction, where a statement of the `Db` would wait for the very turn it holds up */
  refuseInside(): void {
    if (this.#current.getStore()?.ended === false) throw new Error('inside a transaction, query through tx');
  }
}
