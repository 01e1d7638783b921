import { createHash } from 'node:crypto';
import type { Locks } from './db.ts';

/** Takes the lock with the key `$1` alone, until the end of the transaction. */
export const LOCK = 'select pg_advisory_xact_lock($1)';

/**
 * The statements that take these locks, after a `begin`. All transactions take theirs in the same order, so two of them
 * do not wait for each other. PostgreSQL's advisory locks are in memory and fair; `for share` of a row would write, and
 * a stream of sharers would keep out who wants the row alone.
 */
export function sqlOfLocks({ shared = [], exclusive = [] }: Locks): string {
  const functions = new Map(shared.map((name) => [lockKey(name), 'pg_advisory_xact_lock_shared']));
  for (const name of exclusive) functions.set(lockKey(name), 'pg_advisory_xact_lock');
  const inOrder = [...functions].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return inOrder.map(([key, take]) => `; select ${take}(${key})`).join('');
}

/** The key of a lock: 64 bits of a hash of its name. Two names with one key would wait for each other, no more. */
export function lockKey(name: string): bigint {
  return createHash('sha256').update(name).digest().readBigInt64BE();
}
